"""RMSProp: AdaGrad that forgets, so that its steps do not die out."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_optim_losses import arguments, backend
from keras_optim_losses.optimizers.optimizer import LearningRate, Optimizer
from keras_optim_losses.optimizers.step import Step
from keras_optim_losses.registry import register


@register
class RMSprop(Optimizer):
    """RMSProp: divides by the root of the mean of recent squared gradients.

        h ← ρh + (1 − ρ)g²
        d = √(h + ε)
        w ← w − ηg / d
        ḡ ← ρḡ + (1 − ρ)g;  d = √(h − ḡ² + ε)       where `centered`
        m ← μm + ηg / d;  w ← w − m                 with a `momentum` μ

    h never exceeds the largest g² seen; the smaller ρ, the more the newest gradient counts.
    Centered, h − ḡ² estimates the variance, so steps grow where gradients agree.

    When to use it: for recurrent networks, and where the gradient keeps changing its scale or its
    direction, as in reinforcement learning; `centered` for gradients that mostly agree.

    Args:
        learning_rate: η.
        rho: ρ in [0, 1): the share of h that an update keeps.
        momentum: μ in [0, 1). 0 keeps no such state.
        epsilon: ε ≥ 0, keeps the root away from 0.
        centered: whether the mean gradient is taken off.
        **shared: the arguments of `Optimizer`.

    Raises:
        ValueError: an argument is outside its range.

    Where others differ: Keras' `RMSprop` is the same, but that rounding cannot make h − ḡ² negative
    here, which in Keras is NaN. torch has ρ 0.99, η 0.01, divides by √h + ε and keeps η outside the
    momentum; optax has ε 1e-8.

    Source: Tieleman and Hinton, Neural Networks for Machine Learning, Lecture 6.5, 2012; centered
    and with momentum as in Graves, Generating Sequences With Recurrent Neural Networks, 2013,
    arXiv:1308.0850.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import optimizers
        >>> w = keras.Variable([1.0])
        >>> optimizer = optimizers.RMSprop(learning_rate=0.1, rho=0.75)
        >>> optimizer.apply([keras.ops.array([2.0])], [w])  # h = 0.25 · 2²
        >>> print(np.asarray(w).round(4))
        [0.8]
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.rho = arguments.number("rho", rho, "[0, 1)")
        self.momentum = arguments.number("momentum", momentum, "[0, 1)")
        self.epsilon = arguments.number("epsilon", epsilon, "[0, inf)")
        self.centered = arguments.flag("centered", centered)

    @property
    def slots(self) -> tuple[str, ...]:
        momentum = ("momentum",) if self.momentum else ()
        return ("velocity", *momentum, *(("average_gradient",) if self.centered else ()))

    def in_place(self, step: Step) -> list[backend.InPlace] | None:
        """See `Optimizer.in_place`."""
        if self.momentum or self.centered:
            return None
        numbers = step.learning_rate, self.rho, 1 - self.rho, self.epsilon
        return [backend.Squares("weight", "gradient", "velocity", *numbers)]

    def rule(self, step: Step, weight: Any, gradient: Any, velocity: Any, *optional: Any) -> Any:
        """See `Optimizer.rule`."""
        slots = dict(zip(self.slots[1:], optional))
        # h ← ρh + (1 − ρ)g²
        velocity = self.rho * velocity + (1 - self.rho) * ops.square(gradient)
        spread = velocity
        if self.centered:
            # ḡ ← ρḡ + (1 − ρ)g
            average = self.rho * slots["average_gradient"] + (1 - self.rho) * gradient
            slots["average_gradient"] = average
            # h − ḡ² ≥ 0, but for rounding
            spread = ops.relu(velocity - ops.square(average))
        # ηg / √(h + ε)
        move = step.learning_rate * gradient / ops.sqrt(spread + self.epsilon)
        if self.momentum:
            # m ← μm + ηg / √(h + ε)
            move = slots["momentum"] = self.momentum * slots["momentum"] + move
        # w ← w − m
        return weight - move, velocity, *slots.values()
