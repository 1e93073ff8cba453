"""LearningRateFinder: try all learning rates in one go, before the training."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import keras
import numpy as np

from keras_optim_losses import arguments
from keras_optim_losses.untouched import untouched

SMOOTHING = 0.03  # standard deviation of the smoothed curve's window, as a share of the sweep
KEPT = 0.98  # by the average that tells divergence, as fastai and Lightning have it
FIRST = 0.1  # of the sweep: the average over fewer losses may be low by chance


class LearningRateFinder(keras.callbacks.Callback):
    """Trains while the learning rate grows, and leaves the model as it was.

        ηₖ = η_min (η_max / η_min)^(k / (K − 1))

    k counts the steps, from 0 to K − 1. At small rates the loss stays, then it falls, then it
    explodes. `find` runs the sweep; `plot` draws the loss against the rate; `suggestion` is a rate
    to start from.

    The suggestion is the rate at which the smoothed loss falls most steeply against log η, before
    its lowest point: large enough to learn fast, and well below where it explodes. Smoothed means
    averaged with its neighbours, by a Gaussian window of 3% of the sweep; what lies above the
    highest loss before the lowest counts as that one. With a schedule, it is a rate for its peak.

    When to use it: before the first training of a model or a data set, when nobody has told you a
    rate; again where batch size, optimizer or architecture have changed.

    Args:
        min_lr: η of the first step, above 0.
        max_lr: η of the last step, above `min_lr`.
        steps: K, the number of steps, 2 or more; None for one pass over the data. Data with fewer
            batches are passed over again.
        early_stop_threshold: the sweep ends where the average of recent losses is above so many
            times its lowest value, 1 or more; None where losses may be negative. It always ends at
            a loss that is not finite.

    Attributes:
        learning_rates: η of each step.
        losses: the loss of each step, of its batch alone.

    Raises:
        ValueError: an argument is outside its range.

    Everything is put back bit for bit, also where the loss becomes NaN or `find` is interrupted:
    weights, states of layers, of the optimizer and of metrics, and the random state of Keras,
    NumPy, Python and PyTorch, so that a `fit` after it is the same as without it. What the model
    does not own goes on: a generator, a data set that is shuffled anew in each pass, and what
    TensorFlow's own `tf.random.uniform` and the like, which Keras does not use, draw next. In a
    `fit` of your own that could not be, as Keras tells callbacks of no interruption; so it is
    `find` that calls `fit`.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, 2017, arXiv:1506.01186.

    Where others differ: Keras has none. fastai (`lr_find`) and Lightning (`Tuner.lr_find`) try 100
    rates too, keep the model in a file meanwhile, and do not put back random states. Both smooth by
    an average of the past, whose curve lags behind the rate; fastai suggests the middle of its
    longest valley, Lightning its steepest point.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import callbacks, losses, optimizers
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(optimizers.SGD(), losses.MeanSquaredError())
        >>> finder = callbacks.LearningRateFinder(min_lr=1e-4, max_lr=10.0)
        >>> finder.find(model, x, 3 * x, batch_size=16)
        >>> model.optimizer.learning_rate = finder.suggestion
        >>> 0.01 < finder.suggestion < 1
        True
    """

    def __init__(
        self,
        min_lr: float = 1e-6,
        max_lr: float = 10.0,
        steps: int | None = 100,
        early_stop_threshold: float | None = 4.0,
    ) -> None:
        super().__init__()
        self.min_lr = arguments.number("min_lr", min_lr, "(0, inf)")
        self.max_lr = arguments.number("max_lr", max_lr, f"({self.min_lr}, inf)")
        self.steps = arguments.optional_whole_number("steps", steps, at_least=2)
        self.early_stop_threshold = arguments.optional_number(
            "early_stop_threshold", early_stop_threshold, "[1, inf)"
        )
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self._stack: contextlib.ExitStack | None = None

    def find(self, model: Any, x: Any = None, y: Any = None, **arguments_of_fit: Any) -> None:
        """Run the sweep.

        Args:
            model: built and compiled, with a number as learning rate.
            x: as in `model.fit`, whatever it takes.
            y: as in `model.fit`.
            **arguments_of_fit: others of `model.fit`: `batch_size`, `sample_weight`,
                `class_weight`, `steps_per_epoch`, `verbose` (by default 0).

        Raises:
            ValueError: the model is not built or not compiled; its rate is a schedule or a
                function; `steps` is None and the data do not tell their length.
        """
        for name in ("epochs", "initial_epoch", "callbacks"):
            if name in arguments_of_fit:
                raise ValueError(
                    f"`find` takes no `{name}`: it makes as many steps as `steps` says, and with "
                    f"no other callback. Received: {name}={arguments_of_fit[name]!r}"
                )
        self._check(model)
        self.learning_rates, self.losses = [], []
        self._average, self._lowest = 0.0, math.inf
        attributes = {name: getattr(model, name, None) for name in ("history", "stop_training")}
        try:
            with contextlib.ExitStack() as self._stack:
                model.fit(
                    x,
                    y,
                    epochs=self.steps or 1,  # each makes a step at least, and the last one stops
                    callbacks=[self],
                    **{"verbose": 0, **arguments_of_fit},
                )
        finally:
            self._stack = None
            for name, value in attributes.items():
                setattr(model, name, value)

    @staticmethod
    def _check(model: Any) -> None:
        if getattr(model, "optimizer", None) is None:
            raise ValueError("`model` must be compiled with an optimizer: call model.compile(…).")
        if not model.built:
            raise ValueError(
                "`model` must be built, or there are no weights that could be put back. Give it an "
                "`Input`, or call it on a batch."
            )
        if not isinstance(model.optimizer.learning_rate, keras.Variable):
            raise ValueError(
                "The sweep sets the learning rate, which must be a number and not a schedule or a "
                "function. Compile with a number, and give the rate that you find to the schedule."
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        if self._stack is None:
            raise ValueError(
                "`LearningRateFinder` is not for the callbacks of a `fit` of yours, where it could "
                "not put the model back after an interruption. Call finder.find(model, x, y, …), "
                "which takes what `fit` takes."
            )
        batches = self.steps or self.params["steps"]
        if batches is None:
            raise ValueError(
                "`steps=None` is one pass over the data, which do not tell their length. Give a "
                "number of `steps`, or `steps_per_epoch`."
            )
        self._points = math.ceil(batches / self.model.steps_per_execution)
        # Not before `fit`: the first one draws random numbers while it builds what is not built.
        self._stack.enter_context(untouched(self.model))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        model = self.model
        model.reset_metrics()  # so that the loss in the logs is that of this batch
        done = len(self.losses) / max(1, self._points - 1)
        rate = self.min_lr * (self.max_lr / self.min_lr) ** done
        model.optimizer.learning_rate.assign(rate)
        self.learning_rates.append(rate)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        self.losses.append(float(logs["loss"]))
        self.model.stop_training = len(self.losses) == self._points or self._diverged()

    def _diverged(self) -> bool:
        loss = self.losses[-1]
        if not math.isfinite(loss):
            return True
        self._average = KEPT * self._average + (1 - KEPT) * loss
        if len(self.losses) < FIRST * self._points:
            return False
        average = self._average / (1 - KEPT ** len(self.losses))
        self._lowest = min(self._lowest, average)
        limit = self.early_stop_threshold
        return limit is not None and average > limit * self._lowest

    @property
    def smoothed_losses(self) -> np.ndarray:
        """The losses averaged with their neighbours; those that are not finite are left out."""
        losses = np.array(self.losses)
        losses = losses[np.isfinite(losses)]
        if not losses.size:
            raise ValueError(self._no_curve())
        losses = np.minimum(losses, losses[: losses.argmin() + 1].max())
        places = np.arange(losses.size)
        width = max(1e-9, SMOOTHING * self._points)
        window = np.exp(-np.square((places[:, None] - places) / width) / 2)
        return window @ losses / window.sum(axis=1)

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls most steeply, before its lowest point.

        Raises:
            ValueError: `find` has not been called, or the loss did not fall.
        """
        smoothed = self.smoothed_losses
        lowest = int(smoothed.argmin())
        # What a mean of equal numbers differs by is no fall.
        if smoothed[: lowest + 1].max() - smoothed[lowest] <= 1e-9 * abs(smoothed[lowest]):
            raise ValueError(self._no_curve())
        slope = np.gradient(smoothed[: lowest + 1])
        return self.learning_rates[int(slope.argmin())]

    def _no_curve(self) -> str:
        if not self.losses:
            return "There is no curve yet: call finder.find(model, x, y, …) first."
        return (
            f"The loss did not fall at any of {len(self.losses)} learning rates, from "
            f"{self.min_lr:g} to {self.learning_rates[-1]:g}; it went from {self.losses[0]:g} to "
            f"{self.losses[-1]:g}. Begin with a smaller `min_lr`, take more `steps`, or look "
            f"whether labels and loss fit."
        )

    def plot(self, axes: Any = None) -> Any:
        """Draw the loss against the learning rate, with the suggestion.

        Args:
            axes: Matplotlib axes to draw in; by default new ones.

        Returns:
            The axes.

        Raises:
            ImportError: Matplotlib is not installed.
            ValueError: `find` has not been called, or the loss did not fall.
        """
        smoothed, suggestion = self.smoothed_losses, self.suggestion
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError("`plot` needs Matplotlib: pip install matplotlib") from error
        axes = plt.subplots()[1] if axes is None else axes
        rates = self.learning_rates[: smoothed.size]
        axes.plot(self.learning_rates[: len(self.losses)], self.losses, color="0.75", lw=1)
        axes.plot(rates, smoothed, color="#D55E00", lw=2)
        point = (suggestion, smoothed[rates.index(suggestion)])
        axes.plot(*point, "o", color="black")
        # Under the falling curve there is room.
        axes.annotate(
            f"{suggestion:.1e}", point, (-8, -4), textcoords="offset points", ha="right", va="top"
        )
        margin = 0.1 * np.ptp(smoothed)
        axes.set_ylim(smoothed.min() - margin, smoothed.max() + margin)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss of a batch")
        return axes
