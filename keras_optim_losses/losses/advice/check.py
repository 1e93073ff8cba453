"""check: labels, output and loss of a compiled model, seen together before training."""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_optim_losses import backend
from keras_optim_losses.losses.advice import batches, compiled, outputs, rules
from keras_optim_losses.losses.advice.case import Case
from keras_optim_losses.losses.advice.findings import Findings
from keras_optim_losses.losses.loss import get_keras_mask
from keras_optim_losses.untouched import random_numbers_kept


def check(
    model: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Findings:
    """Find out what does not fit between labels, output layer and loss, before training does.

    The model is run on one batch, and many labels are looked at. Weights, optimizer, seeds and
    metrics are left as they are; only a model without weights is built, as `fit` would do. A data
    set is read once more: one that shuffles anew each time is in its second order afterwards. The
    rules are the functions in `losses/advice/rules.py`, in a list.

    When to use it: before the first `fit` of a model, and after a change to its data, its last
    layer or its loss. In `fit` itself there is `CheckFirstBatch`.

    Args:
        model: a compiled model, with losses of Keras or of this package. Losses that are not known,
            such as functions of your own, are only looked at for numbers that are not finite.
        x, y, sample_weight: as for `fit`: arrays of all or of some samples, with structures of them
            for several inputs and outputs; or `x` alone, a `tf.data.Dataset`, PyDataset or
            DataLoader, of which the first batches are read.
        class_weight: as for `fit`.

    Returns:
        A list of findings, each with `severity` ("error" or "warning"), `rule` (a stable name) and
        `message`: what was seen, why it is wrong, the line to change. It is empty where all fits,
        and where the model was compiled without a loss. It prints well.

    Raises:
        ValueError: the model is not compiled; labels are missing, or hold no numbers; `x` is a
            generator, of which training would lose what is read.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import losses
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.compile(loss="sparse_categorical_crossentropy")
        >>> x, y = np.ones((6, 4)), np.array([1, 2, 3, 1, 2, 3])
        >>> [finding.rule for finding in losses.check(model, x, y)]
        ['label-out-of-range', 'from-logits-missing']
        >>> model.compile(loss=losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> losses.check(model, x, y - 1)
        Labels, output and loss fit: nothing was found.
    """
    if not isinstance(model, keras.Model) or not model.compiled:
        raise ValueError(
            f"`model` must be a compiled Keras model: call `model.compile(loss=…)` first. "
            f"Received: {model!r}"
        )
    if model.loss is None:
        return Findings()
    return checked(model, batches.read(x, y, sample_weight), class_weight)


def checked(
    model: keras.Model, data: batches.Data, class_weight: Any = None, state: Any = ()
) -> Findings:
    """`check` of data that has been read.

    Args:
        model: a compiled model with a loss.
        data: what was read.
        class_weight: as for `fit`.
        state: (variable, value) of variables whose value is kept elsewhere, as JAX does in `fit`.
    """
    if data.y is None:
        raise ValueError("`y` must be given: the labels that the compiled loss compares with.")
    found = Findings()
    with backend.inference(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `fit` will say it again, if a rule does not say it better
        if not model.built:
            _build(model, data.x)
        with random_numbers_kept(), keras.StatelessScope(state_mapping=state):
            y_pred = _called(model, data.x)
        ends = outputs.activations(model, len(keras.tree.flatten(y_pred)))
        for place, predictions in compiled.places(model, y_pred):
            y = place.of(data.y)
            for given in compiled.losses_of(model, place):
                if y is None:
                    raise ValueError(
                        f"`y` must hold labels for each output with a loss. Output {place.name!r} "
                        f"has none. Received y with {_names(data.y)}."
                    )
                weights = place.of(data.sample_weight)
                mask = get_keras_mask(predictions)
                case = Case(
                    loss=compiled.loss_use(given, y, predictions),
                    labels=place.of(data.labels),
                    weights=place.of(data.weights),
                    batch_labels=y,
                    batch_weights=weights,
                    predictions=_numbers(predictions),
                    mask=None if mask is None else ops.convert_to_numpy(mask),
                    activation=ends[place.position],
                    metrics=compiled.metrics_of(model, place),
                    class_weight=class_weight,
                    complete=data.complete,
                    outputs=len(keras.tree.flatten(data.y)),
                    failure=functools.partial(_failure, given, y, predictions, weights),
                )
                found += rules.findings(case, place.name)
    return found


def _build(model: keras.Model, x: Any) -> None:
    """Give the model its weights, and leave the seeds it has as they were."""
    before = [(variable, ops.convert_to_numpy(variable)) for variable in model.variables]
    _called(model, keras.tree.map_structure(lambda entry: entry[:1], x))
    for variable, value in before:
        variable.assign(value)


def _called(model: keras.Model, x: Any) -> Any:
    knows = "training" in inspect.signature(model.call).parameters
    return model(x, training=False) if knows else model(x)


def _numbers(tensor: Any) -> np.ndarray:
    wide = "float64" if keras.backend.standardize_dtype(tensor.dtype) == "float64" else "float32"
    return ops.convert_to_numpy(ops.cast(tensor, wide))


def _failure(given: Any, y: Any, predictions: Any, weights: Any) -> str:
    """What the loss, computed as Keras does, raises, or that it is not finite; else empty."""
    alone = keras.Model(name="alone")  # a name of its own, which counts no further
    alone.compile(optimizer=None, loss=given, run_eagerly=True)
    labels = ops.convert_to_tensor(y)
    weights = None if weights is None else ops.convert_to_tensor(weights)
    try:
        with keras.StatelessScope():
            value = alone.compute_loss(y=labels, y_pred=predictions, sample_weight=weights)
    except Exception as error:  # whatever a backend raises, it is what `fit` would raise
        first = str(error).strip().split("\n")[0]
        return (
            f"The loss cannot be computed: {type(error).__name__}: {first} `fit` would stop there. "
            f"Labels have shape {tuple(y.shape)}, the output {tuple(predictions.shape)}: compare "
            f"them with what the loss takes."
        )
    if np.isfinite(value := float(ops.convert_to_numpy(ops.cast(value, "float32")))):
        return ""
    return (
        f"The loss of one batch is {value}. After a step every weight is NaN. Look at which labels "
        f"and outputs the loss takes: of which sign, in which range."
    )


def _names(y: Any) -> str:
    if isinstance(y, dict):
        return f"keys {sorted(y)}"
    return f"{len(keras.tree.flatten(y))} entries"
