"""The losses: which one fits is a question of what the labels are."""

from __future__ import annotations

from typing import Any

import keras

from keras_optim_losses import registry
from keras_optim_losses.losses.advice import check, recommend
from keras_optim_losses.losses.binary_crossentropy import BinaryCrossentropy, binary_crossentropy
from keras_optim_losses.losses.categorical_crossentropy import (
    CategoricalCrossentropy,
    categorical_crossentropy,
)
from keras_optim_losses.losses.loss import Loss
from keras_optim_losses.losses.mean_squared_error import MeanSquaredError, mean_squared_error
from keras_optim_losses.losses.sparse_categorical_crossentropy import (
    SparseCategoricalCrossentropy,
    sparse_categorical_crossentropy,
)

__all__ = [
    "Loss",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "MeanSquaredError",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "mean_squared_error",
    "get",
    "recommend",
    "check",
]


def get(identifier: Any) -> keras.losses.Loss:
    """Return the loss that is meant.

    Args:
        identifier: an instance, a config dictionary of `keras.saving.serialize_keras_object`, or a
            name in any case: `"MeanSquaredError"`, `"binary_crossentropy"`,
            `"keras_optim_losses>CategoricalCrossentropy"`.

    Raises:
        ValueError: nothing is known by that name; the error lists the known ones.

    Example:
        >>> from keras_optim_losses import losses
        >>> losses.get("sparse_categorical_crossentropy").ignore_class is None
        True
    """
    known = [
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        MeanSquaredError,
    ]
    return registry.get(identifier, "loss", known, keras.losses.Loss)
