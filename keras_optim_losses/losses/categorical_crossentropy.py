"""Categorical cross-entropy: for one class out of several, labels as one-hot rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_optim_losses import arguments, backend
from keras_optim_losses.losses import predictions, tensors
from keras_optim_losses.losses.loss import Loss, Shape, made
from keras_optim_losses.registry import register


def log_parts(y_pred: Any, from_logits: bool, axis: int) -> tuple[Any, Any]:
    """Two tensors whose difference is log p of the classes.

    Args:
        y_pred: logits, or probabilities (or positive numbers in proportion to them) with a floor.
        from_logits: which of the two.
        axis: the axis of the classes.

    Returns:
        One like `y_pred`, and one that has 1 along the axis, or None for 0.
    """
    if from_logits:
        # log softmax(z)
        return backend.log_softmax_parts(y_pred, axis)
    # log pₖ − log Σⱼ pⱼ
    return ops.log(y_pred), ops.expand_dims(log_total(y_pred, axis), axis)


def log_total(p: Any, axis: int) -> Any:
    """log Σⱼ pⱼ along the axis of the classes, which is dropped."""
    return ops.log(backend.total(lambda p: p, axis, p))


@register
class CategoricalCrossentropy(Loss):
    """Categorical cross-entropy, for one class out of several; labels are one-hot rows.

        ℓ = −Σₖ cₖ yₖ log pₖ
        p = softmax(z)                              from logits z

    Given as probabilities, p is divided by its sum. Label rows may also hold probabilities, or
    counts: they need not sum to 1. For integer labels there is `SparseCategoricalCrossentropy`,
    which gives the same numbers.

    When to use it: where exactly one of several classes is true and labels are rows, above all soft
    ones: smoothed, mixed, or of a teacher. `Dense(classes)` with `from_logits=True`, else behind a
    softmax; `CategoricalAccuracy` belongs to it.

    Args:
        from_logits: whether `y_pred` is z, the output without an activation, and not p. Exact where
            p would round to 0.
        label_smoothing: s in [0, 1]: y becomes y(1 − s) + s/C for C classes.
        axis: the axis of the classes.
        class_weight: c, a sequence of numbers ≥ 0, one a class. The mean is not divided by it.
        **shared: `reduction`, `name`, `dtype` of `Loss`.

    Shapes: `y_true` and `y_pred` the same, (batch, …, classes). Labels ≥ 0, of any type.

    Raises:
        ValueError: an argument is outside its range; shapes do not match; in an eager call, a label
            is negative or not finite. A compiled call is NaN for such a label.

    Where others differ: Keras keeps p 1e-7 away from 0, or finds the logits that p was made from,
    where the backend and the layer let it; and smooths by the size of the last axis. torch's
    `cross_entropy` takes logits only and divides by the sum of the class weights; optax's
    `softmax_cross_entropy` takes logits only.

    Source: Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs,
    1990; label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer
    Vision, 2016, arXiv:1512.00567.

    Example:
        >>> from keras_optim_losses import losses
        >>> loss = losses.CategoricalCrossentropy()
        >>> print(f"{float(loss([[0, 1, 0]], [[0.1, 0.7, 0.2]])):.4f}")  # −log 0.7
        0.3567
    """

    samplewise = True
    marks_invalid_labels = True

    label_rule = (
        "Labels of CategoricalCrossentropy must be finite and not negative: one-hot rows, or "
        "probabilities. For integer labels use SparseCategoricalCrossentropy."
    )

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        class_weight: Sequence[float] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.from_logits = arguments.flag("from_logits", from_logits)
        self.label_smoothing = arguments.number("label_smoothing", label_smoothing, "[0, 1]")
        self.axis = arguments.whole_number("axis", axis)
        self.class_weight = arguments.optional_numbers("class_weight", class_weight, "[0, inf)")

    def shape_hint(self, labels: Shape, predictions: Shape) -> str:
        """See `Loss.shape_hint`."""
        return (
            "Integer labels, one a sample, belong to SparseCategoricalCrossentropy; "
            "`keras.utils.to_categorical(y_true, classes)` makes one-hot rows of them."
        )

    def prepared(self, y_pred: Any, dtype: str) -> Any:
        """See `Loss.prepared`."""
        if self.from_logits:
            return tensors.cast(y_pred, dtype)
        return predictions.probabilities(y_pred, dtype)

    def valid_labels(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.valid_labels`."""
        return (y_true >= 0) & ops.isfinite(y_true)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.call`."""
        log_p, shift = log_parts(y_pred, self.from_logits, self.axis)
        classes = tensors.length(y_pred, self.axis)
        weights = []
        if self.class_weight is not None:
            weight = predictions.along(self.class_weight, self.axis, y_pred)
            weights = [ops.broadcast_to(weight, ops.shape(y_pred))]

        def terms(y_true: Any, log_p: Any, *weight: Any) -> Any:
            y = tensors.cast(y_true, log_p.dtype)
            if self.label_smoothing:
                # y ← y(1 − s) + s/C
                y = y * (1 - self.label_smoothing) + self.label_smoothing / classes
            if weight:
                # y ← cy
                y = weight[0] * y
            # y log p
            return y * log_p

        # −Σ cy log p
        return -self.total(terms, y_true, log_p, *weights, shift=shift)


@register
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    class_weight: Sequence[float] | None = None,
) -> Any:
    """`CategoricalCrossentropy` as a function: one value a sample, float32 or float64.

    Example:
        >>> from keras_optim_losses import losses
        >>> values = losses.categorical_crossentropy([[0, 1]], [[0.5, 0.5]])
        >>> print([f"{float(value):.4f}" for value in values])  # log 2
        ['0.6931']
    """
    loss = made(
        CategoricalCrossentropy,
        from_logits=from_logits,
        label_smoothing=label_smoothing,
        axis=axis,
        class_weight=class_weight,
    )
    return loss.values(y_true, y_pred)
