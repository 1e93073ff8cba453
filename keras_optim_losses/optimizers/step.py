"""What rules are written with: the step, which all weights of an update share."""

from __future__ import annotations

import math
from typing import Any

from keras import ops


def larger(x: Any, y: Any) -> Any:
    """max(x, y), entry by entry: `ops.maximum` rounds float64 to float32 on PyTorch."""
    return ops.where(x > y, x, y)


class Step:
    """One update: the learning rate η, the step number t, and what follows from them.

    Both are scalars of the type in which the weights are computed (float32, or float64 for float64
    weights), never of a half type. What follows from them is computed once and not once a weight.

    Attributes:
        learning_rate: η, a scalar tensor.
        t: the number of this update, counted from 1, a scalar tensor.
    """

    def __init__(self, learning_rate: Any, t: Any) -> None:
        self.learning_rate = learning_rate
        self.t = t
        self._corrections: dict[float, Any] = {}

    def bias_correction(self, beta: float) -> Any:
        """1 − βᵗ, by which an average that started at zero falls short.

        Computed as −expm1(t·log β): in float32, 1 − 0.999 by way of βᵗ would be off by 1e-5.
        """
        if beta not in self._corrections:
            log_beta = math.log(beta) if beta else -math.inf
            self._corrections[beta] = -ops.expm1(self.t * log_beta)
        return self._corrections[beta]
