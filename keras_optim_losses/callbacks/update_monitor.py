"""UpdateMonitor: how large gradients and updates are, in the logs of `fit`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_optim_losses import arguments
from keras_optim_losses.optimizers import Optimizer
from keras_optim_losses.optimizers.norms import Norms


def _quantities(sums: np.ndarray) -> dict[str, float]:
    """The four of them, from sums of squares over updates, one row a weight."""
    updates = sums[:, -1].max(initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient, update, weight = np.sqrt(sums[:, :-1].sum(axis=0) / updates)
        values = {
            "gradient_norm": gradient,
            "update_norm": update,
            "update_ratio": update / weight,
            "effective_rate": update / gradient,
        }
    return {name: float(value) for name, value in values.items()}


class UpdateMonitor(keras.callbacks.Callback):
    """Writes the norms of gradients and updates into the logs of `fit`.

        ‖g‖                 `"gradient_norm"`
        ‖Δw‖                `"update_norm"`
        ‖Δw‖ / ‖w‖          `"update_ratio"`
        ‖Δw‖ / ‖g‖          `"effective_rate"`

    g is the gradient that an update is made from: unscaled, the mean of what was accumulated, and
    not clipped yet. Δw is all that the update does, decay and constraint included; w the weight
    before it. The effective rate is the η with which SGD would move as far. Norms are L2, over all
    trainable weights together.

    When to use it: where training stalls or explodes and you want to know where. A healthy
    `update_ratio` is near 1e-3; a layer whose ratio is 0 does not learn, and a `gradient_norm` that
    grows announces an explosion, for which `global_clipnorm` is the cure.

    A value stands for the updates since the last one, as their root mean square; a ratio is that of
    two such means. It is NaN where there was no update, as while gradients accumulate, and where a
    gradient was.

    Give it before `TensorBoard` and `CSVLogger` in the list of callbacks: Keras hands the same logs
    from each to the next. `History` is always the last.

    Args:
        per_layer: whether to write each quantity for each layer too, as `"gradient_norm/dense"`.
        update_freq: `"epoch"` writes into the logs of epochs; `"batch"`, or a number N, into those
            of every batch, or every Nth, as well. With `steps_per_execution` a batch is one
            execution.

    Raises:
        ValueError: an argument is outside its range; when `fit` starts, the optimizer is none of
            this package, which is what measures.
        RuntimeError: two monitors are in one `fit`.

    The optimizer adds up squares in a variable of its own, within the training step, compiled or
    not. Nothing of it is saved, and training comes to the same weights as without. The step is
    compiled anew when `fit` starts and when it ends. Meanwhile every update reads and copies all
    weights, also the rows of a table that it does not touch; without a monitor nothing is spent.
    Where a `fit` is interrupted the optimizer goes on measuring, until one with a monitor ends or
    `optimizer.measure(None)` is called.

    Where others differ: Keras has none. torch's `clip_grad_norm_` returns ‖g‖, and Lightning's
    `grad_norm` that of each weight; neither sees Δw.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import callbacks, losses, optimizers
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile(optimizers.SGD(0.125), losses.MeanSquaredError())
        >>> monitor = callbacks.UpdateMonitor()
        >>> history = model.fit(np.ones((8, 2)), np.ones(8), verbose=0, callbacks=[monitor])
        >>> print(f"{history.history['effective_rate'][0]:.3f}")  # that of SGD is η
        0.125
    """

    def __init__(self, per_layer: bool = False, update_freq: str | int = "epoch") -> None:
        super().__init__()
        self.per_layer = arguments.flag("per_layer", per_layer)
        self.update_freq: Any = update_freq
        if update_freq not in ("epoch", "batch"):
            self.update_freq = arguments.whole_number("update_freq", update_freq, at_least=1)
        # Keras need not wait for every batch then.
        self.async_safe = update_freq == "epoch"

    def on_train_begin(self, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        self._norms = Norms()
        self._optimizer().measure(self._norms)
        self.model.make_train_function(force=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        self._sums: Any = 0
        self._batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        if self.update_freq == "epoch":
            return
        self._batches += 1
        if self.update_freq == "batch" or self._batches % self.update_freq == 0:
            self._write(logs, self._taken())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        self._taken()
        self._write(logs, self._sums)

    def on_train_end(self, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        self._optimizer().measure(None)
        self.model.make_train_function(force=True)

    def _optimizer(self) -> Optimizer:
        optimizer = given = self.model.optimizer
        while hasattr(optimizer, "inner_optimizer"):  # of a `LossScaleOptimizer`
            optimizer = optimizer.inner_optimizer
        if not isinstance(optimizer, Optimizer):
            raise ValueError(
                "`UpdateMonitor` needs an optimizer of keras_optim_losses, which measures where "
                f"the gradient is. Received: {given!r}. Compile with one of "
                "`keras_optim_losses.optimizers`."
            )
        return optimizer

    def _taken(self) -> np.ndarray:
        """The sums since the last call. They are added to those of the epoch."""
        if self._optimizer().norms is not self._norms:
            raise RuntimeError(
                "Another `UpdateMonitor` has taken over the optimizer. Give `fit` one of them; "
                "per_layer=True writes the quantities of the whole model too."
            )
        sums = self._norms.taken()
        self._sums = self._sums + sums
        return sums

    def _write(self, logs: dict[str, float], sums: np.ndarray) -> None:
        logs.update(_quantities(sums))
        if not self.per_layer:
            return
        rows: dict[str, list[int]] = {}
        for i, weight in enumerate(self._norms.weights):
            rows.setdefault(self._layer(weight.variable), []).append(i)
        for layer, members in rows.items():
            for name, value in _quantities(sums[members]).items():
                logs[f"{name}/{layer}"] = value

    def _layer(self, variable: Any) -> str:
        """`"dense"` for `"model/dense/kernel"`."""
        layer = variable.path.rpartition("/")[0]
        return layer.removeprefix(f"{self.model.name}/") or self.model.name
