"""Predictions in the type of computation, kept where their logarithms are finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_optim_losses import backend
from keras_optim_losses.losses import tensors

#: The smallest normal number of a type, and the largest finite one.
SMALLEST = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}
LARGEST = {
    "float16": 65504.0,
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float32": (2 - 2.0**-23) * 2.0**127,
    "float64": (2 - 2.0**-52) * 2.0**1023,
}
#: The spacing of a type's numbers at 1.
SPACING = {"float32": 2.0**-23, "float64": 2.0**-52}


def smallest(y_pred: Any) -> float:
    """The smallest normal number of the tensor's type: the floor of p.

    So log p is finite, and so is the gradient −1/p in that type.
    """
    return SMALLEST[tensors.dtype(y_pred)]


def spacing(p: Any) -> float:
    """The spacing of the numbers of the tensor's type at 1: the floor of 1 − p."""
    return SPACING[tensors.dtype(p)]


def probabilities(y_pred: Any, dtype: str, high: float = math.inf) -> Any:
    """Probabilities of at least the smallest normal number of their type.

    A confident wrong p learns by the gradient of p itself, also where a bound holds.

    Args:
        y_pred: probabilities, of any float type.
        dtype: the type of computation, float32 or float64.
        high: the other bound.
    """
    return backend.bounded(tensors.cast(y_pred, dtype), smallest(y_pred), high)


def logits(y_pred: Any, dtype: str) -> Any:
    """Logits with ±inf replaced by the largest finite number of their type.

    Args:
        y_pred: logits, of any float type.
        dtype: the type of computation, float32 or float64.
    """
    return backend.finite(tensors.cast(y_pred, dtype), LARGEST[tensors.dtype(y_pred)])


def mean(terms: Callable[..., Any], axis: int, *given: Any) -> Any:
    """The mean along an axis of what `terms` makes of tensors of one shape, entry by entry."""
    total = backend.total(terms, axis, *given)
    return total / tensors.length(given[0], axis)


def one_a_sample(y_pred: Any) -> Any:
    """(batch,) as (batch, 1): many samples of one value, and not one sample of many."""
    y_pred = ops.convert_to_tensor(y_pred)
    return ops.expand_dims(y_pred, axis=-1) if len(y_pred.shape) == 1 else y_pred


def along(weights: list[float], axis: int, like: Any) -> Any:
    """Weights, one a class, as a tensor that multiplies `like` along its `axis`.

    Raises:
        ValueError: there are more or fewer weights than classes.
    """
    classes = like.shape[axis]
    if classes is not None and classes != len(weights):
        raise ValueError(
            f"There must be one weight for each of the {classes} classes of `y_pred`, of shape "
            f"{tuple(like.shape)} and axis={axis}. Received {len(weights)} weights: {weights}"
        )
    shape = [1] * len(like.shape)
    shape[axis] = len(weights)
    return ops.reshape(ops.convert_to_tensor(weights, dtype=like.dtype), shape)
