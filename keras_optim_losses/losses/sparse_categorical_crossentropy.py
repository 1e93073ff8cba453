"""Sparse categorical cross-entropy: for one class out of several, labels as integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_optim_losses import arguments, backend
from keras_optim_losses.losses import predictions, tensors
from keras_optim_losses.losses.categorical_crossentropy import log_parts, log_total
from keras_optim_losses.losses.loss import Loss, Shape, made
from keras_optim_losses.registry import register


@register
class SparseCategoricalCrossentropy(Loss):
    """Categorical cross-entropy for integer labels: the class itself and not a one-hot row.

        ℓ = −c_y log p_y
        p = softmax(z)                              from logits z

    Given as probabilities, p is divided by its sum. The same number as `CategoricalCrossentropy` of
    the one-hot row, without making one: memory and time do not grow with the number of classes
    times the number of labels.

    When to use it: where exactly one of several classes is true and labels are integers, which is
    the usual case, above all for large vocabularies, and where each pixel or token has a class.
    `Dense(classes)` with `from_logits=True`, else behind a softmax; `SparseCategoricalAccuracy`
    belongs to it.

    Args:
        from_logits: whether `y_pred` is z, the output without an activation, and not p. Exact where
            p would round to 0.
        ignore_class: labels of this value are left out, as if masked: often −1, −100 or 255.
        axis: the axis of the classes.
        label_smoothing: s in [0, 1]: (1 − s)ℓ − s/C Σₖ cₖ log pₖ for C classes.
        class_weight: c, a sequence of numbers ≥ 0, one a class. The mean is not divided by it.
        **shared: `reduction`, `name`, `dtype` of `Loss`.

    Shapes: `y_true` is `y_pred` without the axis of the classes, (batch, …), or with a trailing 1.
    Labels are whole numbers from 0 to C − 1, best of an integer type, which stay integers.

    Raises:
        ValueError: an argument is outside its range; shapes do not match; in an eager call, a label
            is no class. A compiled call is NaN for such a label.

    Where others differ: Keras casts labels to `dtype` (bfloat16 holds no 257), raises, loses the
    weights or goes on for a label out of range, by the backend, takes 1.9 for 1, and has neither
    smoothing nor class weights. torch's `cross_entropy` divides by the sum of the class weights,
    and its `ignore_index` is −100 unless given. optax's
    `softmax_cross_entropy_with_integer_labels` takes logits only.

    Source: as for `CategoricalCrossentropy`.

    Example:
        >>> from keras_optim_losses import losses
        >>> loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
        >>> p = [[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]
        >>> print(f"{float(loss([1, -1], p)):.4f}")  # −log 0.7
        0.3567
    """

    samplewise = True

    label_rule = (
        "Labels of SparseCategoricalCrossentropy must be whole numbers from 0 to the number of "
        "classes less 1. If they start at 1, subtract 1; to leave a value out, give it as "
        "`ignore_class`."
    )

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        label_smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.from_logits = arguments.flag("from_logits", from_logits)
        self.ignore_class = arguments.optional_whole_number("ignore_class", ignore_class)
        self.axis = arguments.whole_number("axis", axis)
        self.label_smoothing = arguments.number("label_smoothing", label_smoothing, "[0, 1]")
        self.class_weight = arguments.optional_numbers("class_weight", class_weight, "[0, inf)")

    def label_shape(self, shape: Shape) -> Shape:
        """See `Loss.label_shape`."""
        axis = self.axis % len(shape) if shape else 0
        return (*shape[:axis], *shape[axis + 1 :])

    def shape_hint(self, labels: Shape, predictions: Shape) -> str:
        """See `Loss.shape_hint`."""
        if len(labels) == len(predictions):
            return "One-hot rows belong to CategoricalCrossentropy."
        return "There must be one integer label for each row of class scores."

    def prepared(self, y_pred: Any, dtype: str) -> Any:
        """See `Loss.prepared`."""
        if self.from_logits:
            return tensors.cast(y_pred, dtype)
        return predictions.probabilities(y_pred, dtype)

    def ignored(self, y_true: Any) -> Any:
        """See `Loss.ignored`."""
        return None if self.ignore_class is None else ops.equal(y_true, self.ignore_class)

    def valid_labels(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.valid_labels`."""
        classes = ops.shape(y_pred)[self.axis]
        valid = (y_true >= 0) & ops.less(y_true, classes)
        if tensors.is_float(y_true):
            valid = valid & ops.equal(y_true, ops.floor(y_true))
        return valid

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.call`."""
        # What is no class gives NaN in the end, but must not be looked up.
        valid = self.unchecked_labels(y_true, y_pred)
        if valid is not None:
            y_true = ops.where(valid, y_true, ops.zeros_like(y_true))
        labels = tensors.cast(y_true, "int32")
        # −log p_y
        if self.from_logits:
            values = -backend.log_softmax(y_pred, self.axis, labels)
        else:
            own = backend.picked(ops.log(y_pred), labels, self.axis)
            values = log_total(y_pred, self.axis) - own
        weight = None
        if self.class_weight is not None:
            # −c_y log p_y
            weight = predictions.along(self.class_weight, self.axis, y_pred)
            values = ops.take(ops.reshape(weight, (-1,)), labels) * values
        if self.label_smoothing:
            # (1 − s)ℓ − s/C Σ cₖ log pₖ
            log_p, shift = log_parts(y_pred, self.from_logits, self.axis)
            log_p = log_p if shift is None else log_p - shift
            if weight is not None:
                log_p = weight * log_p
            spread = self.label_smoothing * predictions.mean(lambda x: x, self.axis, log_p)
            values = (1 - self.label_smoothing) * values - spread
        return values


@register
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    class_weight: Sequence[float] | None = None,
) -> Any:
    """`SparseCategoricalCrossentropy` as a function: one value a sample, float32 or float64.

    Example:
        >>> from keras_optim_losses import losses
        >>> values = losses.sparse_categorical_crossentropy([1], [[0.5, 0.5]])
        >>> print([f"{float(value):.4f}" for value in values])  # log 2
        ['0.6931']
    """
    loss = made(
        SparseCategoricalCrossentropy,
        from_logits=from_logits,
        ignore_class=ignore_class,
        axis=axis,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
    )
    return loss.values(y_true, y_pred)
