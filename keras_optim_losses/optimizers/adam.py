"""Adam: the momentum of gradients, divided by the root of their squares, both unbiased."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_optim_losses import arguments, backend
from keras_optim_losses.optimizers.optimizer import LearningRate, Optimizer
from keras_optim_losses.optimizers.step import Step, larger
from keras_optim_losses.registry import register


@register
class Adam(Optimizer):
    """Adam: momentum in the averaging form over RMSProp, each corrected for its start at zero.

        m ← β₁m + (1 − β₁)g
        v ← β₂v + (1 − β₂)g²
        m̂ = m / (1 − β₁ᵗ)
        v̂ = v / (1 − β₂ᵗ)
        w ← w − ηm̂ / (√v̂ + ε)

    As m̂₁ = g and v̂₁ = g², the first step is η·sign(g) up to ε: steps do not depend on the scale of
    the gradient. With `epsilon_hat` the last line is w ← w − η√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v + ε), the
    reordered form at the end of the paper's section 2, whose ε counts for √(1 − β₂ᵗ) times as much.

    When to use it: as a first choice, and for good where gradients of different layers differ much
    in scale: transformers, GANs, embeddings. For images with a schedule `Momentum` often ends
    better.

    Args:
        learning_rate: η.
        beta_1: β₁ in [0, 1): the share of m that an update keeps.
        beta_2: β₂ in [0, 1): the share of v that an update keeps.
        epsilon: ε ≥ 0, keeps the divisor away from 0.
        amsgrad: whether v in the last lines is the largest v so far.
        epsilon_hat: whether to use the reordered form, as Keras does.
        **shared: the arguments of `Optimizer`.

    Raises:
        ValueError: an argument is outside its range.

    Where others differ: Keras' `Adam` is `epsilon_hat=True`. torch and optax are Algorithm 1 with ε
    1e-8; for AMSGrad optax takes the largest v̂, Keras, torch and this class the largest v.

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, arXiv:1412.6980,
    Algorithm 1; AMSGrad: Reddi, Kale and Kumar, On the Convergence of Adam and Beyond, 2018,
    arXiv:1904.09237.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import optimizers
        >>> w = keras.Variable([1.0, 1.0])
        >>> optimizers.Adam(learning_rate=0.1).apply([keras.ops.array([1e-3, -1e3])], [w])
        >>> print(np.asarray(w).round(4))
        [0.9 1.1]
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        epsilon_hat: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.beta_1 = arguments.number("beta_1", beta_1, "[0, 1)")
        self.beta_2 = arguments.number("beta_2", beta_2, "[0, 1)")
        self.epsilon = arguments.number("epsilon", epsilon, "[0, inf)")
        self.amsgrad = arguments.flag("amsgrad", amsgrad)
        self.epsilon_hat = arguments.flag("epsilon_hat", epsilon_hat)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity", *(("velocity_hat",) if self.amsgrad else ()))

    def scalars(self, step: Step) -> dict[str, Any]:
        """See `Optimizer.scalars`."""
        # 1 − β₁ᵗ, 1 − β₂ᵗ
        correction_1 = step.bias_correction(self.beta_1)
        root_2 = ops.sqrt(step.bias_correction(self.beta_2))
        # m̂/(√v̂ + ε) = √(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε√(1 − β₂ᵗ))
        return {
            "rate": step.learning_rate * root_2 / correction_1,
            "epsilon": self.epsilon * (ops.ones_like(root_2) if self.epsilon_hat else root_2),
            "root_2": root_2,
        }

    def in_place(self, step: Step) -> list[backend.InPlace]:
        """See `Optimizer.in_place`."""
        largest = "velocity_hat" if self.amsgrad else None
        # ε̂ = √(1 − β₂ᵗ)ε
        epsilon = self.epsilon / step["root_2"] if self.epsilon_hat else self.epsilon
        numbers = step.learning_rate, step.t, self.beta_1, self.beta_2, epsilon
        return [backend.Moments("weight", "gradient", "momentum", "velocity", largest, *numbers)]

    def rule(
        self,
        step: Step,
        weight: Any,
        gradient: Any,
        momentum: Any,
        velocity: Any,
        *largest: Any,
    ) -> Any:
        """See `Optimizer.rule`."""
        # m ← β₁m + (1 − β₁)g
        momentum = self.beta_1 * momentum + (1 - self.beta_1) * gradient
        # v ← β₂v + (1 − β₂)g²
        velocity = self.beta_2 * velocity + (1 - self.beta_2) * ops.square(gradient)
        if self.amsgrad:
            # max(v₁, …, vₜ) in place of v
            largest = (larger(largest[0], velocity),)
        used = largest[0] if self.amsgrad else velocity

        # w ← w − η√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε̂)
        weight = weight - step["rate"] * momentum / (ops.sqrt(used) + step["epsilon"])
        return weight, momentum, velocity, *largest
