"""recommend: which loss fits labels, with the last layer and the metric that go with it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_optim_losses.losses.advice import batches, outputs
from keras_optim_losses.losses.advice.findings import indented, table
from keras_optim_losses.losses.advice.labels import FEW, Labels, rarest, shares, shown, some
from keras_optim_losses.losses.binary_crossentropy import BinaryCrossentropy
from keras_optim_losses.losses.categorical_crossentropy import CategoricalCrossentropy
from keras_optim_losses.losses.mean_squared_error import MeanSquaredError
from keras_optim_losses.losses.sparse_categorical_crossentropy import SparseCategoricalCrossentropy

#: Pixels have at most so many classes (ADE20K has 150); more are grey levels.
PIXEL_CLASSES = 151
#: From this size on, two axes of 0 and 1 are a picture, and not questions.
PICTURE = 16
#: No value of a normal distribution lies so many deviations from the median; these are 1.4826 times
#: the median distance, which a few large values do not move.
FAR, DEVIATION = 10, 1.4826
#: The share of such values from which on the squares of the errors are theirs.
FAR_SHARE = 1e-3
#: Where Huber's loss turns, in deviations, it keeps 95% of the precision on normal errors.
HUBER_TURN = 1.345


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What fits the labels. It prints well in a terminal and in a notebook.

    Attributes:
        loss: the loss, configured, for `compile`.
        activation: of the last layer: `"linear"` (none), `"sigmoid"`, `"softmax"` or another one
            that the layer has and that fits.
        units: of the last layer: how many numbers it gives at each place.
        metric: the metric that is honest for these labels, configured, for `compile`.
        reason: what was seen, and what follows.
        warnings: what to mend first in the labels or the last layer.
    """

    loss: keras.losses.Loss
    activation: str
    units: int
    metric: keras.metrics.Metric
    reason: str
    warnings: list[str]

    def _rows(self) -> list[list[str]]:
        end = "no activation" if self.activation == "linear" else self.activation
        return [
            ["loss", f"`{written(self.loss)}`"],
            ["last layer", f"{self.units:,} unit{'s' if self.units > 1 else ''}, {end}"],
            ["metric", f"`{written(self.metric)}`"],
            ["reason", self.reason],
            *(["warning", warning] for warning in self.warnings),
        ]

    def __repr__(self) -> str:
        return "\n".join(indented(text, f"{head:<12}") for head, text in self._rows())

    def _repr_html_(self) -> str:
        return table(self._rows())


@dataclasses.dataclass(frozen=True)
class Last:
    """The last layer, as far as it could be seen; nothing of it where none was given."""

    given: bool = False
    activation: str | None = None
    units: int | None = None


@dataclasses.dataclass(frozen=True)
class Choice:
    """What labels ask for, before the last layer is looked at.

    Attributes:
        loss: a function of `from_logits` that makes the loss.
        activation: the one that turns logits into what the loss takes; `"linear"` for none.
        units: of the last layer.
        metric: a function of `from_logits` that makes the metric.
        reason, warnings: as in `Recommendation`.
    """

    loss: Callable[[bool], keras.losses.Loss]
    activation: str
    units: int
    metric: Callable[[bool], keras.metrics.Metric]
    reason: str
    warnings: list[str]


def recommend(y: Any, output: Any = None) -> Any:
    """Say which loss fits labels, which last layer and metric go with it, and why.

    When to use it: before a model is written, or with the model, before it is compiled. What was
    compiled is looked at by `check`.

    Args:
        y: the labels: an array, or a `tf.data.Dataset`, PyDataset or DataLoader of (x, y) or of y,
            of which the first batches are read; or a list or dictionary of several.
        output: the model, or its last layer, where there is one; then the loss fits its activation,
            and what should be changed is among the warnings.

    Returns:
        A `Recommendation` with `loss`, `activation`, `units`, `metric`, `reason` and `warnings`;
        for several labels, a structure of them.

    Raises:
        ValueError: `y` holds no numbers; `output` is something else, or has no layer to look at.

    Numbers alone do not say whether 1 … 5 are classes or amounts: the reason says what was assumed.

    Example:
        >>> from keras_optim_losses import losses
        >>> losses.recommend([0, 2, 1, 1, 2, 0])
        loss        `losses.SparseCategoricalCrossentropy(from_logits=True)`
        last layer  3 units, no activation
        metric      `keras.metrics.SparseCategoricalAccuracy()`
        reason      6 labels are whole numbers from 0 to 2: one class out of 3 for each. (If
                    they are amounts, and 2 is twice 1: `losses.MeanSquaredError()` and one
                    unit.)
    """
    sample, complete = batches.labels(y)
    entries = keras.tree.flatten(sample)
    lasts = _lasts(output, len(entries))
    found = [_recommended(entry, complete, last) for entry, last in zip(entries, lasts)]
    return keras.tree.pack_sequence_as(sample, found) if keras.tree.is_nested(sample) else found[0]


def _lasts(output: Any, count: int) -> list[Last]:
    """The last layer of each of `count` outputs."""
    if output is None:
        return [Last()] * count
    if isinstance(output, keras.Model):
        ends = getattr(output, "outputs", None) or []
        if len(ends) != count:
            raise ValueError(
                f"`output` must be a functional or Sequential model with {count} "
                f"output{'s' if count > 1 else ''}, as `y` has; of another model give the last "
                f"layer. Received: {output!r} with {len(ends)} outputs that can be seen."
            )
        return [Last(True, outputs.of_tensor(end), end.shape[-1]) for end in ends]
    if isinstance(output, keras.layers.Layer):
        inner = getattr(output, "layer", output)
        units = getattr(inner, "units", None) or getattr(inner, "filters", None)
        return [Last(True, outputs.of_layer(output), units)] * count
    raise ValueError(f"`output` must be a Keras model or layer. Received: output={output!r}")


def _recommended(values: np.ndarray, complete: bool, last: Last) -> Recommendation:
    labels = Labels(values)
    warnings = []
    if not labels.all_finite:
        missing = values.size - labels.finite.size
        warnings.append(
            f"{missing:,} of {values.size:,} labels are NaN or infinite: leave these samples out, "
            f"or set them to 0 with a `sample_weight` of 0."
        )
        if not labels.finite.size:
            raise ValueError("`y` must hold finite numbers. Received: NaN and infinities only.")
    choice = next(choice for kind in KINDS if (choice := kind(labels, last, complete)))
    fits = last.activation == choice.activation or (
        choice.activation == "linear" and last.activation in outputs.RANGES
    )
    if last.given:
        warnings += _to_change(choice, labels, last)
    logits = choice.activation != "linear" and not fits
    return Recommendation(
        loss=choice.loss(logits),
        activation=str(last.activation) if fits else "linear",
        units=choice.units,
        metric=choice.metric(logits),
        reason=choice.reason,
        warnings=[*choice.warnings, *warnings],
    )


def _to_change(choice: Choice, labels: Labels, last: Last) -> list[str]:
    """What to change about the last layer that there is."""
    found = []
    if last.units is not None and last.units != choice.units:
        found.append(f"The last layer has {last.units} units. Give it {choice.units}.")
    if last.activation is None:
        found.append(
            "The activation of the last layer could not be seen. If there is one, give "
            "`from_logits=False`."
            if choice.activation != "linear"
            else "The activation of the last layer could not be seen. There should be none."
        )
    elif choice.activation == "linear":
        low, high = outputs.RANGES.get(last.activation, (-np.inf, np.inf))
        if labels.low < low or labels.high > high:
            found.append(
                f"The last layer is a {last.activation}, which does not reach labels from "
                f"{shown(labels.low)} to {shown(labels.high)}. Take it out."
            )
    elif last.activation not in ("linear", choice.activation):
        found.append(
            f"The last layer is a {last.activation}. Take it out: `activation=None`; or make it a "
            f"{choice.activation} and leave `from_logits` out."
        )
    return found


# Kinds of labels. Each is a function that gives None where the labels are of another kind.


def one_hot(labels: Labels, last: Last, complete: bool) -> Choice | None:
    """One-hot rows, or rows of probabilities."""
    if labels.rows not in ("one-hot", "probabilities"):
        return None
    units = labels.values.shape[-1]
    rows = labels.values.reshape(-1, units)
    warnings: list[str] = []
    rare = None
    if labels.rows == "one-hot":
        warnings, rare = _about_classes(rows.argmax(axis=-1), units, complete)
    seen = "are one-hot" if labels.rows == "one-hot" else "sum to 1"
    return Choice(
        loss=lambda logits: CategoricalCrossentropy(from_logits=logits),
        activation="softmax",
        units=units,
        metric=lambda logits: (
            keras.metrics.F1Score(average="macro")
            if rare is not None and labels.values.ndim == 2
            else keras.metrics.CategoricalAccuracy()
        ),
        reason=f"{len(rows):,} rows of {units} numbers {seen}: one class out of {units} for each.",
        warnings=warnings,
    )


def yes_or_no(labels: Labels, last: Last, complete: bool) -> Choice | None:
    """0 and 1: one question, or several."""
    return _questions(labels, last, "0 or 1", []) if labels.only(0, 1) else None


def signs(labels: Labels, last: Last, complete: bool) -> Choice | None:
    """−1 and 1."""
    if not (labels.only(-1, 1) and labels.low < 0):
        return None
    warning = "Map −1 to 0: `y = (y + 1) / 2`. Or keep them, and take `keras.losses.Hinge()`."
    return _questions(Labels((labels.values > 0).astype("uint8")), last, "−1 or 1", [warning])


def eight_bits(labels: Labels, last: Last, complete: bool) -> Choice | None:
    """A mask of 0 and 255."""
    if not (labels.only(0, 255) and labels.high == 255):
        return None
    warning = "Divide the labels by 255: `y = y / 255`."
    return _questions(Labels((labels.values > 0).astype("uint8")), last, "0 or 255", [warning])


def _questions(labels: Labels, last: Last, seen: str, warnings: list[str]) -> Choice:
    shape = _shape(labels)
    units = shape[-1] if shape else 1
    picture = len(shape) == 2 and min(shape) >= PICTURE
    if last.units == 1 or (picture and last.units != units):
        units = 1
    picture = picture or len(shape) > 2
    rare = None
    if units == 1 and not shape:
        share = shares(labels.finite, 2)
        rare = rarest(share, labels.finite.size)
    if rare is not None:
        warnings = [
            *warnings,
            f"Only {share[rare]:.1%} of the labels are {rare}: never saying so is right in "
            f"{1 - share[rare]:.1%}. Weigh them, `pos_weight={share[0] / share[1]:.3g}`, or use a "
            f"focal loss.",
        ]

    def metric(logits: bool) -> keras.metrics.Metric:
        if units > 1 and len(shape) == 1:
            return keras.metrics.AUC(multi_label=True, num_labels=units, from_logits=logits)
        if rare is not None:
            return keras.metrics.AUC(curve="PR", from_logits=logits)
        threshold = 0.0 if logits else 0.5
        if picture and units == 1:
            return keras.metrics.BinaryIoU(target_class_ids=[1], threshold=threshold)
        return keras.metrics.BinaryAccuracy(threshold=threshold)

    each = "a question of yes or no for each" if units == 1 else f"{units} questions of yes or no"
    where = ", in rows with any number of 1s" if units > 1 else ""
    return Choice(
        loss=lambda logits: BinaryCrossentropy(from_logits=logits),
        activation="sigmoid",
        units=units,
        metric=metric,
        reason=f"{labels.values.size:,} labels are {seen}{where}: {each}.",
        warnings=warnings,
    )


def classes(labels: Labels, last: Last, complete: bool) -> Choice | None:
    """Whole numbers that are classes."""
    distinct, ignored = labels.distinct, None
    if not labels.whole or labels.high > np.iinfo("int32").max:
        return None
    pixels = len(_shape(labels)) > 1
    if labels.low in (-1, -100) and len(distinct) > 2:
        ignored = int(labels.low)
    elif pixels and labels.high == 255 and len(distinct) > 2 and distinct[-2] < PIXEL_CLASSES:
        ignored = 255
    values = labels.finite[labels.finite != ignored] if ignored is not None else labels.finite
    low, high = int(values.min()), int(values.max())
    if low < 0 or not _few_enough(labels, values, high, last):
        return None
    warnings: list[str] = []
    first = 0
    units = high + 1
    if last.units is not None and last.units >= units and last.units > 1:
        units = last.units
    elif low == 1:
        units, first = high, 1
        warnings.append("The smallest label is 1. If there is no class 0, subtract 1: `y = y - 1`.")
    elif not complete or _shape(labels):
        warnings.append(f"Give the last layer more units if there are classes above {high}.")
    alternative = ""
    if not _shape(labels):
        warnings += _about_classes(values, units, complete, first)[0]
        alternative = (
            " (If they are amounts, and 2 is twice 1: `losses.MeanSquaredError()` and one unit.)"
        )
    if ignored is not None and not pixels:
        warnings.append(
            f"The accuracy counts labels of {ignored} as wrong: give them a `sample_weight` of 0, "
            f"and the metric in `weighted_metrics`."
        )

    def metric(logits: bool) -> keras.metrics.Metric:
        if pixels:
            return keras.metrics.MeanIoU(units, ignore_class=ignored, sparse_y_pred=False)
        return keras.metrics.SparseCategoricalAccuracy()

    seen = "" if ignored is None else f" and {ignored}, which marks what is left out"
    return Choice(
        loss=lambda logits: SparseCategoricalCrossentropy(from_logits=logits, ignore_class=ignored),
        activation="softmax",
        units=units,
        metric=metric,
        reason=(
            f"{labels.values.size:,} labels are whole numbers from {low} to {high}{seen}: one "
            f"class out of {units} for each.{alternative}"
        ),
        warnings=warnings,
    )


def _few_enough(labels: Labels, values: np.ndarray, high: int, last: Last) -> bool:
    """Whether whole numbers from 0 to `high` are so few that they must be classes."""
    if high < FEW or (last.units or 0) > max(high, 1):
        return True
    rank = len(_shape(labels))
    if rank and labels.values.dtype.kind == "f":
        return False
    if rank == 0:  # more of them need so many samples a class
        return last.units != 1 and values.size >= FEW * (high + 1)
    return rank == 1 or high < PIXEL_CLASSES  # words of a sentence; pixels


def amounts(labels: Labels, last: Last, complete: bool) -> Choice:
    """Real values: what is nothing else."""
    shape = _shape(labels)
    units = shape[-1] if shape and last.units != 1 else 1
    far = np.abs(labels.finite.astype("float64") - np.median(labels.finite))
    deviation = DEVIATION * float(np.median(far))
    share = float((far > FAR * deviation).mean()) if deviation else 0.0
    reason = (
        f"{labels.values.size:,} labels are real values from {shown(labels.low)} to "
        f"{shown(labels.high)}: a regression, with an error in their own unit as the metric."
    )
    warnings = []
    if labels.whole:
        reason += " (If they are the numbers of classes, there are few samples for each.)"
    loss: keras.losses.Loss = MeanSquaredError()
    if share > FAR_SHARE:
        loss = _huber(float(f"{HUBER_TURN * deviation:.3g}"))
        reason += (
            f" {share:.1%} of them are more than {FAR} deviations from the median: their squares "
            f"would outweigh all others, so errors above `delta` count linearly."
        )
        warnings.append("Keras does not save `delta`: compile again after loading the model.")
    elif len(labels.distinct) == 1:
        warnings.append(f"All labels are {some(labels.distinct)}: there is nothing to learn.")
    return Choice(
        loss=lambda logits: loss,
        activation="linear",
        units=units,
        metric=lambda logits: keras.metrics.MeanAbsoluteError(),
        reason=reason,
        warnings=warnings,
    )


def _huber(delta: float) -> keras.losses.Loss:
    loss = keras.losses.Huber(delta=delta)
    loss.delta = delta  # which is not in its configuration, and should be shown
    return loss


#: In this order.
KINDS: list[Callable[[Labels, Last, bool], Choice | None]] = [
    one_hot,
    yes_or_no,
    signs,
    eight_bits,
    classes,
    amounts,
]


def _shape(labels: Labels) -> tuple[int, ...]:
    """The shape of the labels of a sample, without an axis of 1 at the end."""
    shape = labels.values.shape[1:]
    return shape[:-1] if shape[-1:] == (1,) else shape


def _about_classes(
    classes: np.ndarray, count: int, complete: bool, first: int = 0
) -> tuple[list[str], int | None]:
    """What should be known about the shares of classes from `first` on, and which is rare."""
    share = shares(classes - first, count)
    rare = rarest(share, classes.size)
    found = []
    if rare is not None:
        most = int(share.argmax())
        found.append(
            f"Class {rare + first} has only {share[rare]:.1%} of the labels; always choosing "
            f"class {most + first} is right in {share[most]:.1%}. Weigh the classes, "
            f"`class_weight=[…]`, or use a focal loss."
        )
    missing = np.flatnonzero(share == 0) + first
    if missing.size and complete:
        found.append(f"No label is {some(missing)}: check that no class got lost.")
    return found, rare


def written(thing: Any) -> str:
    """A loss or metric as it is written in code, with the arguments that are not the default."""
    cls = type(thing)
    kind = "losses" if isinstance(thing, keras.losses.Loss) else "metrics"
    own = cls.__module__.split(".")[0] == "keras_optim_losses"
    config = vars(thing) | thing.get_config()
    arguments = ", ".join(
        f"{name}={config[name]!r}"
        for name, parameter in inspect.signature(cls).parameters.items()
        if name in config
        and name not in ("name", "dtype", "reduction")
        and config[name] != parameter.default
    )
    return f"{'' if own else 'keras.'}{kind}.{cls.__name__}({arguments})"
