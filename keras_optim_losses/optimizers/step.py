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

    All are scalars of the type in which the weights are computed (float32, or float64 for float64
    weights), never of a half type. `step["name"]` is what `Optimizer.scalars` has given that name.

    Args:
        learning_rate: η, a scalar tensor.
        t: the number of this update, counted from 1, a scalar tensor. The count of calls ends at
            2³¹ − 2; by then 1 − βᵗ is 1 for every β up to 1 − 1e-8.
        **others: further scalars by name.
    """

    def __init__(self, learning_rate: Any, t: Any, **others: Any) -> None:
        self.learning_rate = learning_rate
        self.t = t
        self.others = others

    def __getitem__(self, name: str) -> Any:
        return self.others[name]

    @property
    def values(self) -> dict[str, Any]:
        """All of them by name, from which the step can be made again."""
        return {"learning_rate": self.learning_rate, "t": self.t, **self.others}

    def bias_correction(self, beta: float) -> Any:
        """1 − βᵗ, by which an average that started at zero falls short.

        Computed as −expm1(t·log β): in float32, 1 − 0.999 by way of βᵗ would be off by 1e-5.
        """
        return -ops.expm1(self.t * (math.log(beta) if beta else -math.inf))
