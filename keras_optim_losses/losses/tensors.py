"""Types and sizes of tensors, at no cost where they are known before any of their values."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


def dtype(tensor: Any) -> str:
    """The name of the tensor's type."""
    return keras.backend.standardize_dtype(tensor.dtype)


def is_float(tensor: Any) -> bool:
    """Whether a tensor is of a float type, half types included."""
    return "float" in dtype(tensor)


def cast(tensor: Any, to: Any) -> Any:
    """The tensor in that type; itself where it is of it already."""
    to = keras.backend.standardize_dtype(to)
    return tensor if dtype(tensor) == to else ops.cast(tensor, to)


def length(tensor: Any, axis: int) -> Any:
    """The length of an axis, a number that the tensor's values can be divided by."""
    known = tensor.shape[axis]
    return ops.cast(ops.shape(tensor)[axis], tensor.dtype) if known is None else known


def count(tensor: Any) -> Any:
    """The number of entries, which their sum can be divided by: 1 if there are none."""
    if None in tensor.shape:
        return ops.maximum(ops.cast(ops.size(tensor), tensor.dtype), 1)
    return max(math.prod(tensor.shape), 1)
