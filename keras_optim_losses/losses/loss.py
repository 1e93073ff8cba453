"""Loss: what every loss shares. A subclass adds only its formula."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

# A layer's mask travels with its output, and Keras has no public way to ask for it.
from keras.src.backend import get_keras_mask

from keras_optim_losses import arguments, backend
from keras_optim_losses.arguments import Shape
from keras_optim_losses.losses import tensors
from keras_optim_losses.registry import register

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


def _checked_dtype(dtype: Any) -> Any:
    """`dtype` after checking that it is a float type, a policy for one, or None."""
    try:
        name = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
    except (TypeError, ValueError):
        name = None
    if name in ("float16", "bfloat16", "float32", "float64"):
        return dtype
    raise ValueError(
        f"`dtype` must be one of 'float16', 'bfloat16', 'float32', 'float64', or a policy that "
        f"computes in one of them. Received: dtype={dtype!r}"
    )


def _matched(tensor: Any, shape: Shape) -> Any:
    """`tensor` in that shape, with a trailing axis of 1 added or dropped; None if it differs."""
    given = tuple(tensor.shape)
    if arguments.agree(given, shape):
        return tensor
    if given[-1:] == (1,) and arguments.agree(given[:-1], shape):
        return ops.squeeze(tensor, axis=-1)
    if shape[-1:] == (1,) and arguments.agree(given, shape[:-1]):
        return ops.expand_dims(tensor, axis=-1)
    return None


def _matched_weight(tensor: Any, shape: Shape) -> Any:
    """As `_matched`, where trailing axes may also be missing or 1: (b,) and (b, 1) fit (b, t)."""
    if len(tensor.shape) > len(shape):
        return _matched(tensor, shape)
    missing = len(shape) - len(tensor.shape)
    given = (*tensor.shape, *[1] * missing)
    leading = len(given)
    while leading and given[leading - 1] == 1:
        leading -= 1
    if not arguments.agree(given[:leading], shape[:leading]):
        return None
    for _ in range(missing):
        tensor = ops.expand_dims(tensor, axis=-1)
    return tensor


@register
class Loss(keras.losses.Loss):
    """The base of all losses: a subclass gives one value a sample.

        class MeanAbsoluteError(Loss):
            def call(self, y_true, y_pred):
                # mean |y − ŷ|
                return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    Computation and reduction run in float32, or float64 where predictions or `dtype` are; only the
    result is cast to `dtype`. Integer labels stay integers. Shapes must match, after a trailing
    axis of 1 is added or dropped. A masked or zero-weighted entry contributes nothing, even where
    its prediction is inf or NaN. Labels out of range raise in an eager call, and give NaN in a
    compiled one.

    Under a `tf.distribute` strategy the loss is that of the whole batch, of which each replica
    gives its share, also where their parts are unequal or unequally masked. They meet in the call,
    which therefore must not lie in a `tf.function` within `strategy.run`.

    A constructor argument of a subclass is kept as an attribute of the same name; then it is part
    of the configuration and comes back from a file.

    Args:
        reduction: of the values, one a sample, weighted by `sample_weight`: `"sum_over_batch_size"`
            or `"mean"`, their sum over their number (those that a mask leaves);
            `"mean_with_sample_weight"`, their sum over the sum of the weights; `"sum"`; None or
            `"none"`, the values themselves.
        name: the loss's name.
        dtype: of the result; by default `keras.config.floatx()`.

    Raises:
        ValueError: an argument is outside its range.

    Where others differ: Keras computes and sums in `dtype`, casts labels to it, lets shapes
    broadcast, multiplies what is masked by 0 (NaN · 0 is NaN), takes the mean of the replicas'
    means, and forgets `dtype` when saved. torch's losses have no masks; optax's are functions
    without a reduction.
    """

    #: The axis of the predictions that `call` sums or averages over.
    axis: int = -1

    #: Promises that the value of a sample depends on that sample only, for which PyTorch is faster.
    samplewise: bool = False

    #: Whether `call` itself gives NaN for labels that are not valid; if not, it is done after it.
    marks_invalid_labels: bool = False

    #: Whether the formula gives no finite number for a label that is not valid; then labels need
    #: only be looked at where the loss is not finite.
    reveals_invalid_labels: bool = False

    #: What valid labels are, for the error.
    label_rule: str = ""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            known = arguments.constructor_names(type(self), keras.losses.Loss)
            arguments.unknown(type(self), unknown, known)
        super().__init__(
            name=arguments.optional_name("name", name),
            reduction=arguments.one_of("reduction", reduction, REDUCTIONS),
            dtype=_checked_dtype(dtype),
        )
        self._functions: dict[tuple[bool, bool], Any] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        # A function that has been compiled holds the arguments as constants.
        vars(self).get("_functions", {}).clear()
        super().__setattr__(name, value)

    # What a subclass provides

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The formula: one value a sample.

        Args:
            y_true: labels. Floats are of the type of `y_pred`; integers are left as they are, for
                they may be classes: `ops.cast` them where they are numbers.
            y_pred: predictions, float32 or float64.

        Returns:
            A tensor of the shape of `y_pred` without `axis`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no formula. Define call(self, y_true, y_pred), which "
            f"returns one value a sample."
        )

    def label_shape(self, shape: Shape) -> Shape:
        """The shape of labels for predictions of that shape; by default the same."""
        return shape

    def shape_hint(self, labels: Shape, predictions: Shape) -> str:
        """What to do where shapes do not match, for the error."""
        return (
            "Reshape one of them: broadcast, entries would be compared that do not belong together."
        )

    def prepared(self, y_pred: Any, dtype: str) -> Any:
        """Predictions in the type of computation; here a subclass keeps them in a finite range."""
        return tensors.cast(y_pred, dtype)

    def valid_labels(self, y_true: Any, y_pred: Any) -> Any:
        """Where labels are valid, a boolean tensor like `y_true`; None where all are."""
        return None

    def ignored(self, y_true: Any) -> Any:
        """Which labels are left out as if masked, a boolean tensor like `y_true`; None for none."""
        return None

    def unchecked_labels(self, y_true: Any, y_pred: Any) -> Any:
        """`valid_labels`; None in an eager call, which has raised where one is not."""
        return None if backend.is_eager(y_pred) else self.valid_labels(y_true, y_pred)

    def total(
        self, terms: Callable[..., Any], y_true: Any, y_pred: Any, *others: Any, shift: Any = None
    ) -> Any:
        """The sum along `axis` of `terms(y_true, y_pred, …)`, entry by entry.

        For losses that say `marks_invalid_labels`: it is NaN where a label is not valid, and such
        an entry has no gradient.

        Args:
            terms: a function of tensors of one shape.
            y_true: labels.
            y_pred: predictions, or what has been made of them.
            *others: further tensors like `y_pred`.
            shift: is subtracted from `y_pred`, by which `terms` then only multiplies.
        """
        valid = None
        if not backend.is_eager(y_pred):
            valid = functools.partial(self.valid_labels, y_pred=y_pred)
        return backend.total(terms, self.axis, y_true, y_pred, *others, valid=valid, shift=shift)

    # Computation

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss.

        Args:
            y_true: labels, a tensor of the shape of `y_pred` or as the class says.
            y_pred: predictions. A mask that a layer has left on them is applied.
            sample_weight: a tensor of the shape of the values, one a sample; trailing axes may be
                missing.

        Returns:
            A scalar of `dtype`; without a reduction one value a sample.

        Raises:
            ValueError: shapes do not match; in an eager call, labels out of range.
        """
        with keras.name_scope(self.name):
            return self._computed(y_true, y_pred, sample_weight, reduced=True)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """One value a sample, float32 or float64, whatever `reduction` and `dtype` are."""
        return self._computed(y_true, y_pred, None, reduced=False)

    def _computed(self, y_true: Any, y_pred: Any, sample_weight: Any, reduced: bool) -> Any:
        mask = get_keras_mask(y_pred)
        y_true = arguments.tensor("`y_true`", y_true)
        y_pred = arguments.tensor("`y_pred`", y_pred)
        if not tensors.is_float(y_pred):
            y_pred = tensors.cast(y_pred, "float32")
        dtype = self._computing_dtype(y_pred)
        y_true, y_pred = self._matching(y_true, y_pred)
        if tensors.dtype(y_true) in ("bool", "int8", "uint8", "int16", "uint16"):
            y_true = ops.cast(y_true, "int32")  # in which every number of classes can be compared
        shape = self._values_shape(y_pred)
        weights = self._weights("`sample_weight`", sample_weight, shape, dtype)
        mask = self._weights("the mask of `y_pred`", mask, shape, "bool")
        eager = backend.is_eager(y_pred)
        if eager and not self.reveals_invalid_labels:
            self._raise_if_invalid(y_true, y_pred, weights, mask)

        distributed = reduced and self.reduction not in (None, "none") and backend.replicas() > 1
        if (reduced, distributed) not in self._functions:
            finish = self._parts if distributed else self._reduced
            axis = self.axis if self.samplewise else None
            self._functions[reduced, distributed] = backend.Fused(
                self._weighted, finish if reduced else lambda values, *inputs: values, axis
            )
        result = self._functions[reduced, distributed](y_true, y_pred, weights, mask)
        if distributed:
            result = self._over_replicas(result)
        if eager and self.reveals_invalid_labels and not bool(ops.all(ops.isfinite(result))):
            self._raise_if_invalid(y_true, y_pred, weights, mask)
        return result

    def _computing_dtype(self, y_pred: Any) -> str:
        return "float64" if "float64" in (tensors.dtype(y_pred), self.dtype) else "float32"

    def _values_shape(self, y_pred: Any) -> Shape:
        axis = self._positive_axis(y_pred)
        return (*y_pred.shape[:axis], *y_pred.shape[axis + 1 :])

    def _along_labels(self, flags: Any, y_true: Any, y_pred: Any) -> Any:
        """Flags, one a sample, in a shape that fits the labels."""
        has_axis = len(y_true.shape) == len(y_pred.shape)
        return ops.expand_dims(flags, self._positive_axis(y_pred)) if has_axis else flags

    def _counted(self, y_true: Any, mask: Any) -> Any:
        """Which values count in a mean; None where all do."""
        ignored = self.ignored(y_true)
        return self._all([mask, None if ignored is None else ops.logical_not(ignored)])

    def _used(self, y_true: Any, y_pred: Any, weights: Any, mask: Any) -> Any:
        """Which values count and have a weight; None where all do."""
        weighted = None if weights is None else ops.not_equal(weights, 0)
        used = self._all([self._counted(y_true, mask), weighted])
        if used is not None:
            axis, shape = self._positive_axis(y_pred), ops.shape(y_pred)
            used = ops.broadcast_to(used, (*shape[:axis], *shape[axis + 1 :]))
        return used

    def _weighted(self, y_true: Any, y_pred: Any, weights: Any, mask: Any) -> Any:
        """The values times their weights, 0 where they are left out."""
        dtype = self._computing_dtype(y_pred)
        axis = self._positive_axis(y_pred)
        if tensors.is_float(y_true):
            y_true = tensors.cast(y_true, dtype)
        used = self._used(y_true, y_pred, weights, mask)
        if used is not None:
            # Replaced before the formula sees them: 0 · NaN is NaN, in a value as in a gradient.
            kept = self._along_labels(used, y_true, y_pred)
            y_true = ops.where(kept, y_true, ops.zeros_like(y_true))
            y_pred = ops.where(ops.expand_dims(used, axis), y_pred, ops.full_like(y_pred, 0.5))
        values = self.call(y_true, self.prepared(y_pred, dtype))
        given = tuple(values.shape) if hasattr(values, "shape") else None
        if given is None or not arguments.agree(given, self._values_shape(y_pred)):
            raise ValueError(
                f"`{type(self).__name__}.call` must reduce axis {self.axis} of `y_pred`, of shape "
                f"{tuple(y_pred.shape)}, and no other. Received: "
                f"{type(values).__name__ if given is None else f'values of shape {given}'}"
            )
        valid = None if self.marks_invalid_labels else self.unchecked_labels(y_true, y_pred)
        if valid is not None:
            valid = ops.all(valid, axis=axis) if len(valid.shape) > len(values.shape) else valid
            values = ops.where(valid, values, float("nan"))
        if weights is not None:
            values = values * weights
        if used is not None:
            values = ops.where(used, values, ops.zeros_like(values))
        return values

    def _matching(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Labels and predictions of shapes that belong together."""
        expected = self.label_shape(tuple(y_pred.shape))
        matched = _matched(y_true, expected)
        if matched is None:
            raise ValueError(
                f"`y_true` must have shape {expected} for `y_pred` of shape {tuple(y_pred.shape)}. "
                f"Received: y_true of shape {tuple(y_true.shape)}. "
                f"{self.shape_hint(tuple(y_true.shape), tuple(y_pred.shape))}"
            )
        if None in (*matched.shape, *expected):
            # A size that is not known yet must not broadcast when it is.
            matched = backend.of_shape(matched, self.label_shape(ops.shape(y_pred)))
        return matched, y_pred

    def _positive_axis(self, y_pred: Any) -> int:
        rank = len(y_pred.shape)
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"`axis` must be an axis of `y_pred`, of shape {tuple(y_pred.shape)}. "
                f"Received: axis={self.axis}"
            )
        return self.axis % rank

    @staticmethod
    def _weights(name: str, given: Any, shape: Shape, dtype: str) -> Any:
        if given is None:
            return None
        tensor = arguments.tensor(name, given)
        weights = _matched_weight(ops.cast(tensor, dtype), shape)
        if weights is None:
            raise ValueError(
                f"{name} must have the shape {shape} of the loss, one value a sample, or leave out "
                f"trailing axes. Received shape {tuple(tensor.shape)}."
            )
        return weights

    @staticmethod
    def _all(conditions: list[Any]) -> Any:
        given = [condition for condition in conditions if condition is not None]
        if len(given) < 2:
            return given[0] if given else None
        return ops.logical_and(*given)

    def _raise_if_invalid(self, y_true: Any, y_pred: Any, weights: Any, mask: Any) -> None:
        if self.marks_invalid_labels:
            # Labels as many as predictions: an interval holds all if it holds the extremes.
            valid = self.valid_labels(backend.extremes(y_true), y_pred)
            if bool(ops.all(valid)):
                return
        valid = self.valid_labels(y_true, y_pred)
        if valid is None:
            return
        used = self._used(y_true, y_pred, weights, mask)
        if used is not None:
            unused = ops.logical_not(self._along_labels(used, y_true, y_pred))
            valid = ops.logical_or(valid, unused)
        if not bool(ops.all(valid)):
            valid = ops.convert_to_numpy(valid)
            wrong = ops.convert_to_numpy(y_true)[~valid]
            raise ValueError(
                f"{self.label_rule} Received: y_true with {np.unique(wrong)[0]} among its entries "
                f"({wrong.size} of {valid.size} are out of range)."
            )

    def _reduced(self, values: Any, y_true: Any, weights: Any, mask: Any) -> Any:
        return tensors.cast(self._reduction_of(values, y_true, weights, mask), self.dtype)

    def _reduction_of(self, values: Any, y_true: Any, weights: Any, mask: Any) -> Any:
        if self.reduction in (None, "none"):
            return values
        total = ops.sum(values)
        if self.reduction == "sum":
            return total
        share = self._share(values, y_true, weights, mask)
        return total / tensors.count(values) if share is None else self._quotient(total, share)

    def _share(self, values: Any, y_true: Any, weights: Any, mask: Any) -> Any:
        """By what a mean divides the sum of the values; None where it is their number."""
        counted = self._counted(y_true, mask)
        by_weight = self.reduction == "mean_with_sample_weight" and weights is not None
        if counted is None and not by_weight:
            return None
        share = ops.ones_like(values)
        if by_weight:
            share = share * weights
        if counted is not None:
            share = ops.where(counted, share, ops.zeros_like(share))
        return ops.sum(share)

    @staticmethod
    def _quotient(total: Any, share: Any) -> Any:
        # `ops.divide_no_nan`, and numbers in `ops.where`, round float64 to float32 on PyTorch.
        empty = ops.equal(share, 0)
        safe = ops.where(empty, ops.ones_like(share), share)
        return ops.where(empty, ops.zeros_like(total), total / safe)

    def _parts(self, values: Any, y_true: Any, weights: Any, mask: Any) -> Any:
        """What the samples of one replica contribute to a sum, and to that which divides it."""
        share = self._share(values, y_true, weights, mask)
        share = ops.sum(ops.ones_like(values)) if share is None else share
        return ops.stack([ops.sum(values), share])

    def _over_replicas(self, parts: Any) -> Any:
        """The loss of the whole batch, divided by the number of replicas, which add it up again."""
        # The mean of their means is another number where their shares of the batch are unequal.
        total, share = ops.unstack(backend.over_replicas(parts), 2)
        whole = total if self.reduction == "sum" else self._quotient(total, share)
        return tensors.cast(whole / backend.replicas(), self.dtype)

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """Everything that was configured, as plain Python values."""
        names = [*arguments.constructor_names(type(self), Loss), "reduction", "name", "dtype"]
        return arguments.kept(self, names)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """Make a loss from `get_config()`."""
        return cls(**arguments.configuration(cls.__name__, config))


def made(cls: type[Loss], **given: Any) -> Loss:
    """A loss of these arguments: the same instance each time, with what was compiled for it.

    Args:
        cls: the class.
        **given: its arguments; sequences may be lists or arrays.
    """
    plain = {k: tuple(v) if arguments.is_sequence(v) else v for k, v in given.items()}
    key: Any = cls
    try:
        return _made(key, keras.config.floatx(), tuple(plain.items()))
    except TypeError:  # not hashable: no argument that is valid, which the constructor says better
        return cls(**given)


@functools.lru_cache(maxsize=64)
def _made(cls: Any, floatx: str, given: tuple[tuple[str, Any], ...]) -> Loss:
    return cls(**dict(given))
