"""Binary cross-entropy: for questions that are answered by yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_optim_losses import arguments, backend
from keras_optim_losses.losses import predictions, tensors
from keras_optim_losses.losses.loss import Loss, made
from keras_optim_losses.registry import register


@register
class BinaryCrossentropy(Loss):
    """Binary cross-entropy, for labels of 0 and 1: one question a unit, each answered by itself.

        ℓ = −[w₊ y log p + (1 − y) log(1 − p)]
        p = σ(z)                                    from logits z

    The value of a sample is the mean over `axis`. Several units are several questions
    ("multi-label"), of which any number can be true; where exactly one of several classes is true,
    `CategoricalCrossentropy` fits.

    When to use it: for one question of yes or no, `Dense(1)`, or for several at once, `Dense(n)`;
    best with `from_logits=True` and no activation, else behind a sigmoid. The accuracy that belongs
    to it is `BinaryAccuracy`, with a threshold of 0 for logits.

    Args:
        from_logits: whether `y_pred` is z, the output without an activation, and not p. Exact where
            p would round to 0 or 1.
        label_smoothing: s in [0, 1]: y becomes y(1 − s) + s/2.
        axis: the axis of the questions, over which the mean runs.
        pos_weight: w₊ ≥ 0, a number, or a sequence with one for each question: above 1 where "yes"
            is rare, so that it counts more.
        **shared: `reduction`, `name`, `dtype` of `Loss`.

    Shapes: `y_true` and `y_pred` the same, (batch, …, questions); (batch,) counts as (batch, 1).
    Labels in [0, 1], of any type.

    Raises:
        ValueError: an argument is outside its range; shapes do not match; in an eager call, a label
            is outside [0, 1]. A compiled call is NaN for such a label.

    Where others differ: Keras keeps p 1e-7 away from 0, so that a confident wrong p stops learning,
    gives a negative loss for a label of 255, and has no `pos_weight`. torch's
    `binary_cross_entropy_with_logits` has the same `pos_weight`; its loss of probabilities stops at
    100. optax's `sigmoid_binary_cross_entropy` takes logits only.

    Source: Good, Rational Decisions, 1952, the logarithmic score; label smoothing: Szegedy et al.,
    Rethinking the Inception Architecture for Computer Vision, 2016, arXiv:1512.00567.

    Example:
        >>> from keras_optim_losses import losses
        >>> loss = losses.BinaryCrossentropy()
        >>> print(f"{float(loss([[1], [0]], [[0.9], [0.2]])):.4f}")  # −(log 0.9 + log 0.8) / 2
        0.1643
    """

    samplewise = True
    marks_invalid_labels = True

    label_rule = (
        "Labels of BinaryCrossentropy must be in [0, 1]; divide a mask of 0 and 255 by 255, map −1 "
        "to 0, and for real values use MeanSquaredError."
    )

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        pos_weight: float | Sequence[float] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.from_logits = arguments.flag("from_logits", from_logits)
        self.label_smoothing = arguments.number("label_smoothing", label_smoothing, "[0, 1]")
        self.axis = arguments.whole_number("axis", axis)
        weight: Any = pos_weight
        several = arguments.is_sequence(weight)
        check = arguments.optional_numbers if several else arguments.optional_number
        self.pos_weight = check("pos_weight", weight, "[0, inf)")

    def _matching(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        return super()._matching(y_true, predictions.one_a_sample(y_pred))

    def prepared(self, y_pred: Any, dtype: str) -> Any:
        """See `Loss.prepared`."""
        if self.from_logits:
            return predictions.logits(y_pred, dtype)
        return predictions.probabilities(y_pred, dtype, high=1 - predictions.smallest(y_pred))

    def valid_labels(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.valid_labels`."""
        return (y_true >= 0) & (y_true <= 1)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.call`."""
        weights = [] if self.pos_weight is None else [self._weights_like(y_pred)]
        # Negated when they are few: the terms are as many as the predictions.
        total = self.total(self._terms, y_true, y_pred, *weights)
        return total / -tensors.length(y_pred, self.axis)

    def _weights_like(self, y_pred: Any) -> Any:
        if isinstance(self.pos_weight, list):
            weight = predictions.along(self.pos_weight, self.axis, y_pred)
            return ops.broadcast_to(weight, ops.shape(y_pred))
        return ops.full_like(y_pred, self.pos_weight)

    def _terms(self, y_true: Any, y_pred: Any, *weight: Any) -> Any:
        y = tensors.cast(y_true, y_pred.dtype)
        if self.label_smoothing:
            # y ← y(1 − s) + s/2
            y = y * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.from_logits:
            # log p = log σ(z),  log(1 − p) = log σ(−z)
            return backend.log_likelihood(y, y_pred, *weight)
        complement = backend.bounded(1 - y_pred, predictions.spacing(y_pred), 1.0)
        log_yes, log_no = ops.log(y_pred), ops.log(complement)
        if weight:
            log_yes = weight[0] * log_yes
        # w₊ y log p + (1 − y) log(1 − p)
        return y * log_yes + (1 - y) * log_no


@register
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    pos_weight: float | Sequence[float] | None = None,
) -> Any:
    """`BinaryCrossentropy` as a function: one value a sample, float32 or float64.

    Example:
        >>> from keras_optim_losses import losses
        >>> values = losses.binary_crossentropy([[1], [0]], [[0.5], [0.5]])
        >>> print([f"{float(value):.4f}" for value in values])  # log 2
        ['0.6931', '0.6931']
    """
    loss = made(
        BinaryCrossentropy,
        from_logits=from_logits,
        label_smoothing=label_smoothing,
        axis=axis,
        pos_weight=pos_weight,
    )
    return loss.values(y_true, y_pred)
