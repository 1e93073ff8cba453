"""Momentum: keep part of the last step, and valleys are crossed faster than they are rattled in."""

from __future__ import annotations

from typing import Any

from keras_optim_losses import arguments, backend
from keras_optim_losses.optimizers.optimizer import LearningRate, Optimizer
from keras_optim_losses.optimizers.step import Step
from keras_optim_losses.registry import register


def with_velocity(
    optimizer: Any, step: Step, weight: Any, gradient: Any, velocity: Any
) -> tuple[Any, Any]:
    """Polyak's momentum, the rule of `Momentum` and of `SGD` with a momentum.

    Args:
        optimizer: has `momentum` α and `nesterov`.
        step, weight, gradient: as in `Optimizer.rule`.
        velocity: v, a tensor like `weight`.

    Returns:
        The new weight and the new velocity.
    """
    # v ← αv − ηg
    velocity = optimizer.momentum * velocity - step.learning_rate * gradient
    if optimizer.nesterov:
        # w ← w + αv − ηg
        weight = weight + optimizer.momentum * velocity - step.learning_rate * gradient
    else:
        # w ← w + v
        weight = weight + velocity
    return weight, velocity


def velocity_in_place(optimizer: Any, step: Step) -> list[backend.InPlace]:
    """`with_velocity` as `Optimizer.in_place` has it."""
    kept, rate = optimizer.momentum, -step.learning_rate
    velocity = backend.Sum("momentum", kept, "gradient", rate)
    if optimizer.nesterov:
        ahead = backend.Sum("weight", 1, "momentum", kept)
        return [velocity, ahead, backend.Sum("weight", 1, "gradient", rate)]
    return [velocity, backend.Sum("weight", 1, "momentum", 1)]


@register
class Momentum(Optimizer):
    """Momentum: the step is a running sum of past steps, so what they agree on adds up.

        v ← αv − ηg;  w ← w + v                         Polyak's form
        v ← αv − ηg;  w ← w + αv − ηg                   with `nesterov`
        m ← βm + (1 − β)g;  w ← w − ηm                  with `averaging`
        m ← βm + (1 − β)g;  w ← w − η(βm + (1 − β)g)    with both

    In Polyak's form a constant gradient is amplified up to 1/(1 − α) times. In the averaging form
    it is not: m is the mean of recent gradients, biased towards zero at first (m₁ = (1 − β)g₁); it
    is the m of Adam. `Momentum(momentum=0)` is SGD.

    When to use it: for images, with a schedule and `nesterov`, where it often ends better than
    Adam; and wherever SGD rattles across a valley instead of going along it. In Polyak's form take
    about 1 − α times the rate of SGD.

    Args:
        learning_rate: η.
        momentum: α or β, in [0, 1): the share of the past that is kept.
        nesterov: whether the gradient acts at the point that the velocity leads to.
        averaging: whether to average the gradients instead of adding up steps.
        **shared: the arguments of `Optimizer`.

    Raises:
        ValueError: an argument is outside its range.

    Where others differ: Keras' `SGD(momentum=…)` is the same, η inside the velocity; torch and
    optax have η outside, which differs once η changes. The averaging form is torch's `dampening=β`,
    but for torch's first step, which takes v = g, and optax's `ema`.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods, 1964;
    Nesterov's form as in Sutskever et al., On the importance of initialization and momentum in deep
    learning, 2013.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import optimizers
        >>> w = keras.Variable([0.0])
        >>> optimizer = optimizers.Momentum(learning_rate=1.0, momentum=0.5)
        >>> for _ in range(2):
        ...     optimizer.apply([keras.ops.array([-1.0])], [w])
        ...     print(np.asarray(w))
        [1.]
        [2.5]
    """

    slots = ("momentum",)

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        averaging: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.momentum = arguments.number("momentum", momentum, "[0, 1)")
        self.nesterov = arguments.flag("nesterov", nesterov)
        self.averaging = arguments.flag("averaging", averaging)

    def in_place(self, step: Step) -> list[backend.InPlace]:
        """See `Optimizer.in_place`."""
        if not self.averaging:
            return velocity_in_place(self, step)
        average = backend.Sum("momentum", self.momentum, "gradient", 1 - self.momentum)
        rate = -step.learning_rate
        if not self.nesterov:
            return [average, backend.Sum("weight", 1, "momentum", rate)]
        return [
            average,
            backend.Sum("weight", 1, "momentum", rate * self.momentum),
            backend.Sum("weight", 1, "gradient", rate * (1 - self.momentum)),
        ]

    def rule(self, step: Step, weight: Any, gradient: Any, momentum: Any) -> Any:
        """See `Optimizer.rule`."""
        if not self.averaging:
            return with_velocity(self, step, weight, gradient, momentum)
        # m ← βm + (1 − β)g
        momentum = self.momentum * momentum + (1 - self.momentum) * gradient
        direction = momentum
        if self.nesterov:
            # βm + (1 − β)g with the new m
            direction = self.momentum * momentum + (1 - self.momentum) * gradient
        # w ← w − ηm
        return weight - step.learning_rate * direction, momentum
