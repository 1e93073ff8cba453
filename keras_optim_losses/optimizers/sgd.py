"""Stochastic gradient descent: take a step after every batch."""

from __future__ import annotations

from typing import Any

from keras_optim_losses import arguments, backend
from keras_optim_losses.optimizers.momentum import velocity_in_place, with_velocity
from keras_optim_losses.optimizers.optimizer import LearningRate, Optimizer
from keras_optim_losses.optimizers.step import Step
from keras_optim_losses.registry import register


@register
class SGD(Optimizer):
    """Stochastic gradient descent, as in Keras with momentum as an option.

        w ← w − ηg
        v ← αv − ηg;  w ← w + v                     with a `momentum` α: see `Momentum`

    The gradient g is that of one batch: noisy, but one epoch makes many updates where gradient
    descent makes one.

    When to use it: as a baseline, and where the last percent counts and there is time to tune the
    rate and a schedule. It keeps no state, so nothing takes less memory.

    Args:
        learning_rate: η.
        momentum: α in [0, 1). 0 keeps no state.
        nesterov: whether the gradient acts at the point that the velocity leads to.
        **shared: the arguments of `Optimizer`.

    Raises:
        ValueError: an argument is outside its range.

    Where others differ: Keras' `SGD` is the same. torch and optax put η outside the velocity, which
    differs once η changes; torch's default η is 0.001, and optax has none.

    Source: Robbins and Monro, A Stochastic Approximation Method, 1951.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import optimizers
        >>> w = keras.Variable([1.0])
        >>> optimizers.SGD(learning_rate=0.5).apply([keras.ops.array([1.0])], [w])
        >>> print(np.asarray(w))
        [0.5]
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.momentum = arguments.number("momentum", momentum, "[0, 1)")
        self.nesterov = arguments.flag("nesterov", nesterov)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    @property
    def moves_without_gradient(self) -> bool:  # type: ignore[override]
        return bool(self.momentum)

    def in_place(self, step: Step) -> list[backend.InPlace]:
        """See `Optimizer.in_place`."""
        if self.momentum:
            return velocity_in_place(self, step)
        return [backend.Sum("weight", 1, "gradient", -step.learning_rate)]

    def rule(self, step: Step, weight: Any, gradient: Any, *velocity: Any) -> Any:
        """See `Optimizer.rule`; without momentum there is no velocity."""
        if velocity:
            return with_velocity(self, step, weight, gradient, *velocity)
        # w ← w − ηg
        return weight - step.learning_rate * gradient
