"""CheckFirstBatch: the check as a callback."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_optim_losses import backend
from keras_optim_losses.losses.advice import batches
from keras_optim_losses.losses.advice.check import checked
from keras_optim_losses.losses.advice.findings import Findings


class CheckFirstBatch(keras.callbacks.Callback):
    """Runs `losses.check` on the first batch of `fit`, before anything is learned from it.

    It stops the training with an error where there is one, and warns of the rest. The training
    itself is the same, bit for bit, as without it. What one batch cannot tell, such as a rare class
    or a `class_weight`, which comes as weights, is left to `losses.check`; a model with a
    `train_step` or `compute_loss` of its own is let pass.

    When to use it: in every `fit`, for it costs one call of the model; above all where data come
    out of a pipeline, of which the arrays cannot be looked at before.

    Attributes:
        findings: what was found, a list; None before the first batch.

    Raises:
        ValueError: in `fit`, where labels, output and loss do not fit, with all findings; or where
            a `tf.distribute` strategy spreads the batch over several devices.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_optim_losses import callbacks
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model.compile(loss="binary_crossentropy")
        >>> x, y = np.ones((6, 4)), np.array([0, 1, 0, 1, 0, 1])
        >>> try:
        ...     history = model.fit(x, y, verbose=0, callbacks=[callbacks.CheckFirstBatch()])
        ... except ValueError as error:
        ...     print(str(error).splitlines()[0])
        ERROR from-logits-missing
    """

    def __init__(self) -> None:
        super().__init__()
        self.findings: Findings | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        self.findings = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """See `keras.callbacks.Callback`."""
        # Keras tells callbacks of no batch, but hands it to the training function right after this.
        if self.findings is not None:
            return
        model, step = self.model, self.model.train_function

        def look(*arguments: Any) -> Any:
            model.train_function = step
            first, state, arguments = backend.first_batch(model, arguments)
            try:
                self._check(first, state)
            except Exception:
                for variable, value in state:
                    variable.assign(value)  # JAX has taken it out of the model
                raise
            return step(*arguments)

        model.train_function = look

    def _check(self, batch: Any, state: Any) -> None:
        self.findings = Findings()
        own, plain = type(self.model), keras.Model
        if own.train_step is not plain.train_step or own.compute_loss is not plain.compute_loss:
            return
        if self.model.loss is None:
            return
        self.findings = checked(self.model, batches.of_batches([batch]), state=state)
        if self.findings.errors:
            raise ValueError(str(self.findings))
        for finding in self.findings:
            warnings.warn(str(finding), stacklevel=2)
