"""How large gradients and updates are: measured where both are at hand, for whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_optim_losses import backend

COLUMNS = ("‖g‖²", "‖Δw‖²", "‖w‖²", "updates")


class Norms:
    """Sums over updates, one row a weight: ‖g‖², ‖Δw‖², ‖w‖², and the number of updates.

    Given to `Optimizer.measure`. Squares can be added up over weights as over updates, so that one
    row serves the norm of a layer, of the whole model, and the root mean square over many updates.

    g is the gradient that the update is made from: unscaled, summed over replicas, the mean of what
    was accumulated, and not clipped yet. Δw is all that the update does to w, decay and constraint
    included; w is the weight before it. A half-precision weight counts with the digits of its
    float32 copy.
    """

    def __init__(self) -> None:
        self.variable: Any = None
        self.weights: list[Any] = []

    def build(self, weights: Sequence[Any]) -> None:
        """Make room for these weights, unless it was made.

        Args:
            weights: objects with `variable`, `dtype` and `value`, a tensor.
        """
        if self.variable is not None:
            return
        self.weights = list(weights)
        dtype = "float64" if any(w.dtype == "float64" for w in self.weights) else "float32"
        with backend.placement(self.weights[0].variable):
            self.variable = keras.Variable(
                "zeros",
                shape=(len(self.weights), len(COLUMNS)),
                dtype=dtype,
                trainable=False,
                name="update_norms",
            )
        self._add = backend.Update(lambda scalars, old, new: [old[0] + new[0]], compiled=False)

    def before(self, gradients: dict[int, Any], divisor: Any) -> tuple[list[Any], list[Any]]:
        """What must be looked at before an update: ‖g‖² and the weights.

        Args:
            gradients: by the `id` of their weight; there need not be one for each.
            divisor: by which they are too large.
        """
        dtype = self.variable.dtype
        squares = []
        for weight in self.weights:
            gradient = gradients.get(id(weight))
            if gradient is None:
                squares.append(ops.zeros((), dtype))
            else:
                square = ops.cast(backend.squared_norm(gradient, weight.dtype), dtype)
                squares.append(square / ops.square(ops.cast(divisor, dtype)))
        return squares, backend.owned([weight.value for weight in self.weights])

    def after(self, before: tuple[list[Any], list[Any]], complete: Any) -> None:
        """Add up what an update has done.

        Args:
            before: what `before` gave.
            complete: whether the accumulation cycle is; if not, there was no update.
        """
        dtype = self.variable.dtype
        entries = []
        for square, old, weight in zip(*before, self.weights):
            moved = backend.squared_norm(weight.value - old, weight.dtype)
            size = backend.squared_norm(old, weight.dtype)
            entries += [square, moved, size, ops.ones((), dtype)]
        new = ops.stack([ops.cast(entry, dtype) for entry in entries])
        new = ops.where(complete, new, ops.zeros_like(new))
        self._add({}, [((self.variable,), (ops.reshape(new, self.variable.shape),))])

    def taken(self) -> np.ndarray:
        """The sums since the last call, float64, one row a weight."""
        if self.variable is None:
            return np.zeros((0, len(COLUMNS)))
        sums = np.array(ops.convert_to_numpy(self.variable), "float64")
        self.variable.assign(np.zeros(sums.shape))
        return sums
