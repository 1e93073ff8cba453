"""AdaGrad: a learning rate for each weight, smaller the more that weight has moved."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_optim_losses import arguments, backend
from keras_optim_losses.optimizers.optimizer import LearningRate, Optimizer
from keras_optim_losses.optimizers.step import Step
from keras_optim_losses.registry import register


@register
class Adagrad(Optimizer):
    """AdaGrad: divides by the root of all squared gradients so far.

        h ← h + g²
        w ← w − ηg / √(h + ε)

    A weight that is rarely touched keeps large steps, which suits sparse features. As h only
    grows, every step shrinks towards 0; `RMSprop` mends that by forgetting.

    When to use it: for sparse features and embeddings, where what is rare must learn as much as
    what is frequent. Not for long runs of deep networks.

    Args:
        learning_rate: η.
        initial_accumulator_value: h before the first update, 0 or more.
        epsilon: ε ≥ 0, keeps the root away from 0.
        **shared: the arguments of `Optimizer`.

    Raises:
        ValueError: an argument is outside its range.

    Where others differ: Keras' `Adagrad` is the same. The paper and torch start with h = 0 and
    divide by √h + ε (torch: η 0.01, ε 1e-10); optax starts with 0.1 as here.

    Source: Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization, 2011.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import optimizers
        >>> w = keras.Variable([2.0])
        >>> optimizer = optimizers.Adagrad(1.0, initial_accumulator_value=0.0, epsilon=0.0)
        >>> for gradient in (3.0, 4.0):  # √h is 3, then 5
        ...     optimizer.apply([keras.ops.array([gradient])], [w])
        ...     print(np.asarray(w).round(4))
        [1.]
        [0.2]
    """

    moves_without_gradient = False

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.initial_accumulator_value = arguments.number(
            "initial_accumulator_value", initial_accumulator_value, "[0, inf)"
        )
        self.epsilon = arguments.number("epsilon", epsilon, "[0, inf)")

    @property
    def slots(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def in_place(self, step: Step) -> list[backend.InPlace]:
        """See `Optimizer.in_place`."""
        numbers = step.learning_rate, 1, 1, self.epsilon
        return [backend.Squares("weight", "gradient", "accumulator", *numbers)]

    def rule(self, step: Step, weight: Any, gradient: Any, accumulator: Any) -> Any:
        """See `Optimizer.rule`."""
        # h ← h + g²
        accumulator = accumulator + ops.square(gradient)
        # w ← w − ηg / √(h + ε)
        weight = weight - step.learning_rate * gradient / ops.sqrt(accumulator + self.epsilon)
        return weight, accumulator
