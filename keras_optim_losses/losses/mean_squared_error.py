"""Mean squared error: for real values."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_optim_losses.losses import predictions, tensors
from keras_optim_losses.losses.loss import Loss, made
from keras_optim_losses.registry import register


@register
class MeanSquaredError(Loss):
    """Mean squared error, for real values and a linear output.

        ℓ = mean (y − ŷ)²

    The value of a sample is the mean over the last axis. As errors count by their square, a few
    large ones outweigh many small ones.

    When to use it: for real values with errors of one size, such as pixels, prices on a log scale
    or coordinates, behind a linear output. Not for classes: where a sigmoid or softmax is sure and
    wrong, its gradient vanishes.

    Args:
        reduction, name, dtype: as in `Loss`.

    Shapes: `y_true` and `y_pred` the same, (batch, …, values); (batch,) counts as (batch, 1).

    Raises:
        ValueError: an argument is outside its range; shapes do not match; in an eager call, a label
            is NaN or infinite. A compiled call is NaN or infinite for such a label.

    Where others differ: Keras lets (batch, 3) against (batch, 1), and other shapes, broadcast, and
    sums in `dtype`. torch's `mse_loss` is the mean over all entries, the same number. optax's
    `squared_error` is that of each entry.

    Source: Legendre, Nouvelles méthodes pour la détermination des orbites des comètes, 1805.

    Example:
        >>> from keras_optim_losses import losses
        >>> loss = losses.MeanSquaredError()
        >>> print(f"{float(loss([[1.0, 2.0]], [[1.0, 5.0]])):.2f}")  # (0² + 3²) / 2
        4.50
    """

    samplewise = True

    marks_invalid_labels = True
    reveals_invalid_labels = True

    label_rule = (
        "Labels of MeanSquaredError must be finite. Leave samples without a label out, or give "
        "them a `sample_weight` of 0."
    )

    def _matching(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        return super()._matching(y_true, predictions.one_a_sample(y_pred))

    def valid_labels(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.valid_labels`."""
        return ops.isfinite(y_true) if tensors.is_float(y_true) else None

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See `Loss.call`."""
        y = tensors.cast(y_true, y_pred.dtype)
        # mean (y − ŷ)²
        return predictions.mean(lambda y, p: ops.square(y - p), -1, y, y_pred)


@register
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """`MeanSquaredError` as a function: one value a sample, float32 or float64.

    Example:
        >>> from keras_optim_losses import losses
        >>> values = losses.mean_squared_error([[1.0], [2.0]], [[1.0], [4.0]])
        >>> print([float(value) for value in values])
        [0.0, 4.0]
    """
    return made(MeanSquaredError).values(y_true, y_pred)
