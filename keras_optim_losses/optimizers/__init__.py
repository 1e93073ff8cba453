"""The optimizers, in the order of the story."""

from __future__ import annotations

from typing import Any

import keras

from keras_optim_losses import registry
from keras_optim_losses.optimizers.adagrad import Adagrad
from keras_optim_losses.optimizers.adam import Adam
from keras_optim_losses.optimizers.gradient_descent import GradientDescent
from keras_optim_losses.optimizers.momentum import Momentum
from keras_optim_losses.optimizers.optimizer import Optimizer
from keras_optim_losses.optimizers.rmsprop import RMSprop
from keras_optim_losses.optimizers.sgd import SGD

__all__ = [
    "Optimizer",
    "GradientDescent",
    "SGD",
    "Momentum",
    "Adagrad",
    "RMSprop",
    "Adam",
    "get",
]


def get(identifier: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer that is meant.

    Args:
        identifier: an instance, a config dictionary of `keras.saving.serialize_keras_object`, or a
            name in any case: `"Adam"`, `"rmsprop"`, `"keras_optim_losses>SGD"`.

    Raises:
        ValueError: nothing is known by that name; the error lists the known ones.

    Example:
        >>> from keras_optim_losses import optimizers
        >>> optimizers.get("adam").beta_1
        0.9
    """
    known = [GradientDescent, SGD, Momentum, Adagrad, RMSprop, Adam]
    return registry.get(identifier, "optimizer", known, keras.optimizers.Optimizer)
