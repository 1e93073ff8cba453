"""The end of a model: which activation its output comes from."""

from __future__ import annotations

import re
from typing import Any

import keras

#: What an activation can give, for those that cannot give every number.
RANGES = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, float("inf")),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, float("inf")),
    "exponential": (0.0, float("inf")),
}
SIGMOIDS = ("sigmoid", "hard_sigmoid")
PROBABILITIES = (*SIGMOIDS, "softmax")
ACTIVATIONS = {
    *RANGES,
    *("linear", "log_softmax", "log_sigmoid", "leaky_relu", "elu", "selu", "celu", "gelu"),
    *("silu", "mish", "hard_silu", "hard_tanh", "prelu", "glu"),
}

#: Layers and operations of Keras that hand on numbers as they are, in another shape or none at all.
_HAND_ON = {
    *("Reshape", "Flatten", "Permute", "Identity", "Squeeze", "ExpandDims", "Transpose", "Cast"),
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"),
    *("GaussianNoise", "ActivityRegularization", "RepeatVector"),
    *("Cropping1D", "Cropping2D", "Cropping3D"),
}


def activations(model: Any, count: int) -> list[str | None]:
    """The activation of each of the `count` outputs, in the order of `keras.tree`.

    Returns:
        Names such as `"softmax"` and `"linear"`; None where it cannot be seen, as in a model that
        is written as a subclass.
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != count:
        return [None] * count
    return [of_tensor(output) for output in outputs]


def of_tensor(output: Any) -> str | None:
    """The activation that a symbolic tensor comes from."""
    # Keras has no public way from a tensor to the layer that made it.
    history = getattr(output, "_keras_history", None)
    if history is None:
        return None
    operation, node, tensor = history
    if isinstance(operation, keras.Model):
        inner = getattr(operation, "outputs", None) or []
        return of_tensor(inner[tensor]) if tensor < len(inner) else None
    if _is_keras(operation) and _hands_on(operation):
        # `input` is that of the first call.
        given = operation.input if node == 0 else None
        return of_tensor(given) if isinstance(given, keras.KerasTensor) else None
    return of_layer(operation)


def of_layer(layer: Any) -> str | None:
    """The activation that a layer, or an operation of `keras.ops`, ends in."""
    if isinstance(layer, keras.Model):
        outputs = getattr(layer, "outputs", None) or []
        return of_tensor(outputs[0]) if len(outputs) == 1 else None
    if not _is_keras(layer):
        return None  # a layer of the user's: an attribute `activation` need not be its end
    wrapped = getattr(layer, "layer", None) or getattr(layer, "forward_layer", None)
    if wrapped is not None:  # TimeDistributed, SpectralNormalization; Bidirectional
        summed = getattr(layer, "merge_mode", None) == "sum"
        return None if summed else of_layer(wrapped)
    if hasattr(layer, "activation"):
        return named(layer.activation)
    if getattr(layer, "negative_slope", 0):
        return "leaky_relu"  # also where the layer is called ReLU
    return named(type(layer).__name__)  # layers.Softmax, layers.ReLU, ops.sigmoid


def named(activation: Any) -> str | None:
    """The name of an activation function, layer or class name, where it is known."""
    if activation is None:
        return "linear"
    if isinstance(activation, keras.layers.Layer):
        return of_layer(activation)
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
    name = {"swish": "silu", "hard_swish": "hard_silu"}.get(name, name)
    for known in ACTIVATIONS:
        if known.replace("_", "") == re.sub("_", "", name).lower():
            return known
    return None


def _is_keras(operation: Any) -> bool:
    return type(operation).__module__.split(".")[0] == "keras"


def _hands_on(operation: Any) -> bool:
    linear = isinstance(operation, keras.layers.Activation) and named(operation.activation)
    return type(operation).__name__ in _HAND_ON or linear == "linear"
