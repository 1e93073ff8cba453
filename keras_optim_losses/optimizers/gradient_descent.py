"""Gradient descent: look at all the data, then take one step downhill."""

from __future__ import annotations

from typing import Any

from keras_optim_losses import arguments, backend
from keras_optim_losses.optimizers.optimizer import LearningRate, Optimizer
from keras_optim_losses.optimizers.step import Step
from keras_optim_losses.registry import register


@register
class GradientDescent(Optimizer):
    """Gradient descent: one update from the mean gradient of many batches.

        w ← w − ηḡ

    ḡ is the mean gradient of `batches_per_update` batches. With the number of batches in the data
    set this is full-batch gradient descent: the exact gradient of the whole data for one update,
    without holding all of it in memory at once. With 1 it is SGD, which updates after every batch.

    When to use it: to see what the others approximate; on small data, where a whole pass costs
    little; or with a few batches per update where the batch that you want does not fit in memory.

    Args:
        learning_rate: η.
        batches_per_update: the number of batches, 1 or more, whose mean gradient makes one update.
            The base argument `gradient_accumulation_steps` is another name for it.
        **shared: the arguments of `Optimizer`.

    Batches count alike in the mean: it is exact where all batches have the same size.

    Raises:
        ValueError: an argument is outside its range.

    Where others differ: Keras, torch and optax have no class for it. Keras'
    `gradient_accumulation_steps` and `optax.MultiSteps` take the mean over batches as well; with
    torch you add up gradients by calling `backward` several times, and divide yourself.

    Source: Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, 1847.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import optimizers
        >>> w = keras.Variable([1.0])
        >>> optimizer = optimizers.GradientDescent(learning_rate=0.5, batches_per_update=2)
        >>> for batch_gradient in (1.0, 3.0):  # the mean is 2
        ...     optimizer.apply([keras.ops.array([batch_gradient])], [w])
        ...     print(np.asarray(w))
        [1.]
        [0.]
    """

    moves_without_gradient = False

    def __init__(
        self, learning_rate: LearningRate = 0.01, batches_per_update: int = 1, **shared: Any
    ) -> None:
        batches = arguments.whole_number("batches_per_update", batches_per_update, at_least=1)
        steps = shared.pop("gradient_accumulation_steps", None)
        if steps is not None and batches == 1:
            batches = arguments.whole_number("gradient_accumulation_steps", steps, at_least=1)
        elif steps is not None and steps != batches:
            raise ValueError(
                "`batches_per_update` and `gradient_accumulation_steps` are the same thing here. "
                f"Received: batches_per_update={batches}, gradient_accumulation_steps={steps}. "
                "Give the first alone."
            )
        super().__init__(learning_rate, gradient_accumulation_steps=batches, **shared)
        self.batches_per_update = batches

    def in_place(self, step: Step) -> list[backend.InPlace]:
        """See `Optimizer.in_place`."""
        return [backend.Sum("weight", 1, "gradient", -step.learning_rate)]

    def rule(self, step: Step, weight: Any, gradient: Any) -> Any:
        """See `Optimizer.rule`; the gradient is the mean over the batches already."""
        # w ← w − ηḡ
        return weight - step.learning_rate * gradient
