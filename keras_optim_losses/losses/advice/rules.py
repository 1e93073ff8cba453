"""The rules: what is wrong between labels, output and loss. Each is a row of one table.

A rule is a function of a `Case` that returns None where all is well, else three sentences: what was
seen, why it is wrong, and what to change. Its name is the name in the finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_optim_losses.losses.advice.case import Case
from keras_optim_losses.losses.advice.findings import Finding
from keras_optim_losses.losses.advice.labels import (
    FEW,
    ROW_TOLERANCE,
    Labels,
    rarest,
    shares,
    shown,
    some,
)
from keras_optim_losses.losses.advice.outputs import RANGES, SIGMOIDS

CROSSENTROPIES = ("binary", "categorical", "sparse")
ELEMENTWISE = ("binary", "categorical", "error", "elementwise")

Report = tuple[str, str, str] | None


@dataclasses.dataclass(frozen=True)
class Rule:
    """A row of the table.

    Attributes:
        name: the short name, which stays the same.
        severity: `"error"` or `"warning"`.
        families: the losses it is about, as in `LossUse.family`; empty for all.
        needs_fit: whether it compares labels and output place by place, which takes shapes that
            agree.
        report: the function.
    """

    name: str
    severity: str
    families: tuple[str, ...]
    needs_fit: bool
    report: Callable[[Case], Report]

    def finding(self, case: Case, output: str) -> Finding | None:
        """What the rule has to say about a case."""
        if self.families and case.loss.family not in self.families:
            return None
        if self.needs_fit and not (case.fits and case.counted.values.size):
            return None
        report = self.report(case)
        return report and Finding(self.severity, self.name, " ".join(report), output)


RULES: list[Rule] = []


def rule(severity: str, *families: str, needs_fit: bool = True) -> Callable[..., Any]:
    """Put a function into the table."""

    def add(report: Callable[[Case], Report]) -> Callable[[Case], Report]:
        name = report.__name__.replace("_", "-")
        RULES.append(Rule(name, severity, families, needs_fit, report))
        return report

    return add


def findings(case: Case, output: str) -> list[Finding]:
    """What all rules have to say about a case."""
    found = [finding for rule in RULES if (finding := rule.finding(case, output))]
    # Not tried where an error is known: PyTorch on a GPU ends the process over a wrong class.
    if not any(finding.severity == "error" for finding in found) and (failure := case.failure()):
        found.append(Finding("error", "loss-fails", failure, output))
    return found


# Shapes


@rule("error", needs_fit=False)
def one_unit(case: Case) -> Report:
    """Softmax over one unit; one class to choose from."""
    # Some processors divide with a rounding, and have 1 − 2⁻²⁴ for 1.
    ones = bool((abs(case.rows - 1) <= ROW_TOLERANCE).all())
    softmax = case.activation == "softmax" and ones
    if case.units > 1 or not (softmax or case.loss.family in ("categorical", "sparse")):
        return None
    seen = "is a softmax over one unit" if softmax else "has one unit, the only class there is"
    return (
        f"The output {seen}.",
        "Its probability is 1 whatever the input is, and nothing is learned.",
        f"For a question of yes or no: `Dense(1)` without an activation, and "
        f"{case.loss.line('BinaryCrossentropy', from_logits=True)}; for K classes: `Dense(K)`.",
    )


@rule("error", "categorical", needs_fit=False)
def sparse_labels(case: Case) -> Report:
    """CCE with labels of one rank less, or a last axis of 1: use Sparse."""
    if case.units < 2 or case.label_shape not in (case.places, (*case.places, 1)):
        return None
    return (
        f"There is one label for each row of {case.units} predictions: in a batch `y` has shape "
        f"{case.batch_labels.shape}, the output {case.predictions.shape}.",
        f"{case.loss.name} takes one-hot rows.",
        f"Write {_line(case, 'SparseCategoricalCrossentropy')}, which takes numbers of classes.",
    )


@rule("error", "sparse", needs_fit=False)
def one_hot_labels(case: Case) -> Report:
    """SCCE with labels of the output's shape: use Categorical."""
    if case.units < 2 or case.label_shape != case.shape:
        return None
    return (
        f"The labels have the shape of the output, {case.predictions.shape} in a batch: a row for "
        f"each place.",
        f"{case.loss.name} takes the number of the class.",
        f"Write {_line(case, 'CategoricalCrossentropy')}, which takes rows, or give it "
        f"`y.argmax(axis=-1)`.",
    )


@rule("error", *ELEMENTWISE, "sparse", needs_fit=False)
def shapes_differ(case: Case) -> Report:
    """Shapes that would broadcast, or that do not belong together at all."""
    told = {"categorical": sparse_labels, "sparse": one_hot_labels}.get(case.loss.family)
    if case.fits or (told and told(case)):
        return None
    shape = (len(case.predictions), *case.expected)
    change = f"Bring `y` to the shape {shape}, or the output to that of `y`."
    labels = Labels(case.labels)
    if case.units > 1 and case.label_shape in (case.places, (*case.places, 1)) and labels.whole:
        line = _line(case, "SparseCategoricalCrossentropy")
        change = f"If the labels are classes: {line}. If they are amounts: `Dense(1)` at the end."
    elif len(case.expected) > len(case.label_shape):
        change += " A layer that returns sequences may stand where the last step is meant."
    return (
        f"In a batch the labels have shape {case.batch_labels.shape}, the output "
        f"{case.predictions.shape}.",
        "Broadcast against each other, entries would be compared that do not belong together.",
        change,
    )


# Labels


@rule("error", *ELEMENTWISE, "sparse", needs_fit=False)
def labels_not_finite(case: Case) -> Report:
    """NaN or inf in labels."""
    labels = case.met
    if labels.all_finite:
        return None
    wrong = labels.values.size - labels.finite.size
    why = "One of them makes the loss of its batch NaN, and then every weight."
    if not case.loss.leaves_out and case.fits and case.counted.all_finite:
        why = "They have weight 0 or are masked, but Keras multiplies by 0, and 0 · NaN is NaN."
    return (
        f"{wrong:,} of {labels.values.size:,} labels are NaN or infinite.",
        why,
        "Leave these samples out, or set them to 0 and give them a `sample_weight` of 0.",
    )


@rule("error", "sparse", "categorical")
def label_out_of_range(case: Case) -> Report:
    """A label ≥ C, or negative and not `ignore_class`; starts at 1: subtract 1."""
    labels, last = case.counted, case.units - 1
    if not labels.finite.size or case.units < 2:
        return None
    if case.loss.family == "categorical":
        if labels.low >= 0:
            return None
        return (
            f"The rows of `y` hold {shown(labels.low)}.",
            "A probability is not negative: the loss would reward being wrong there.",
            "Give one-hot rows of 0 and 1: `keras.utils.to_categorical(classes)`.",
        )
    if labels.low >= 0 and labels.high <= last:
        return None
    seen = f"The labels go from {shown(labels.low)} to {shown(labels.high)}"
    why = f"The output has {case.units} units, for classes 0 to {last}."
    if labels.only(-1, 1):
        change = "Map −1 and 1 to 0 and 1: `y = (y + 1) // 2`."
    elif labels.low == 1 and labels.high == case.units:
        change = "They start at 1. Subtract 1: `y = y - 1`."
    elif labels.low < 0 and not (labels.distinct[labels.distinct >= 0] > last).any():
        change = (
            f"If {shown(labels.low)} marks what is to be left out: "
            f"{case.loss.line(ignore_class=int(labels.low))}."
        )
    else:
        change = (
            f"Give the last layer a unit for each class, {shown(labels.high + 1)} of them, or "
            f"number the classes from 0 without gaps: `y = np.unique(y, return_inverse=True)[1]`."
        )
    return f"{seen}.", why, change


@rule("error", "sparse")
def fractional_labels(case: Case) -> Report:
    """Labels for SCCE that are not whole numbers."""
    if case.counted.whole:
        return None
    fractions = case.counted.distinct[np.mod(case.counted.distinct, 1) != 0]
    return (
        f"Among the labels are {some(fractions)}.",
        f"{case.loss.name} takes the numbers of classes; Keras would take 1.9 for class 1.",
        "For real values: `loss=losses.MeanSquaredError()` and `Dense(1)` without an activation.",
    )


@rule("error", "binary")
def labels_outside_0_1(case: Case) -> Report:
    """BCE labels outside [0, 1]: a regression? a 255 mask? −1 and 1?"""
    labels = case.counted
    if not labels.finite.size or (labels.low >= 0 and labels.high <= 1):
        return None
    if labels.only(-1, 1):
        change = "Map −1 to 0: `y = (y + 1) / 2`. Or keep them, with `loss=keras.losses.Hinge()`."
    elif labels.only(0, 255) or (labels.low >= 0 and labels.high == 255):
        change = "This looks like a mask or an image of 8 bits. Divide by 255: `y = y / 255`."
    elif labels.whole and labels.low >= 0 and len(labels.distinct) <= FEW:
        units = shown(labels.high + 1)
        change = (
            f"If they are classes: `Dense({units})` and "
            f"{case.loss.line('SparseCategoricalCrossentropy', from_logits=True)}."
        )
    else:
        change = "For real values: `loss=losses.MeanSquaredError()` and no activation at the end."
    return (
        f"The labels go from {shown(labels.low)} to {shown(labels.high)}.",
        f"{case.loss.name} takes labels in [0, 1]; of others the loss can fall without end.",
        change,
    )


@rule("warning", "categorical")
def empty_rows(case: Case) -> Report:
    """All-zero one-hot rows: padding? mask it."""
    labels = case.counted
    empty = (labels.values == 0).all(axis=-1)
    if not empty.any() or case.units < 2 or (labels.sums > 1 + ROW_TOLERANCE).any():
        return None  # where several can be true, none can
    return (
        f"{int(empty.sum()):,} of {empty.size:,} rows of `y` are all 0.",
        "They have loss 0 but count in the mean: they thin it out, and hide labels that got lost.",
        "If they are padding, give them a `sample_weight` of 0, or mask the input: "
        "`keras.layers.Masking()`, `Embedding(…, mask_zero=True)`.",
    )


@rule("warning", "categorical")
def multi_label_rows(case: Case) -> Report:
    """0/1 rows with other sums than 1: BinaryCrossentropy."""
    labels = case.counted
    if case.units < 2 or case.activation in SIGMOIDS or labels.rows != "several":
        return None
    several = int((labels.sums > 1).sum())
    if not several:
        return None
    return (
        f"{several:,} of {len(labels.values):,} rows of `y` hold several 1s: several classes are "
        f"true at once.",
        "A softmax lets only one be, and shares its probability out among them.",
        f"Ask a question for each class: no activation at the end, and "
        f"{case.loss.line('BinaryCrossentropy', from_logits=True)}.",
    )


@rule("warning", "sparse", "categorical")
def class_never_seen(case: Case) -> Report:
    """Classes never seen. Class 0 is often kept free on purpose."""
    classes = _classes(case)
    if classes is None or not case.complete or len(classes) < 20 * case.units:
        return None
    missing = np.setdiff1d(np.arange(1, case.units), classes)
    if not missing.size:
        return None
    return (
        f"No label is {some(missing)}, among {len(classes):,} labels for {case.units} units.",
        "The loss pushes units down that are never right: too many units, or labels that got lost.",
        f"If no class is missing: `Dense({int(classes.max()) + 1})`. Else look at how `y` was cut.",
    )


@rule("warning", *CROSSENTROPIES)
def rare_class(case: Case) -> Report:
    """The rarest class under 5% (of two; under a tenth of an even share of several)."""
    classes = _classes(case)
    given = (case.class_weight, case.weights)
    if classes is None or case.loss.weighs_classes or any(weight is not None for weight in given):
        return None
    share = shares(classes, max(case.units, 2))
    least = rarest(share, len(classes))
    if least is None:
        return None
    if case.loss.family == "binary":
        weight = shown(round((1 - share[1]) / share[1], 2))
        logits = ", from_logits=True" if case.loss.from_logits else ""
        change = (
            f"Weigh it: `loss=losses.BinaryCrossentropy(pos_weight={weight}{logits})`, or use a "
            f"focal loss; and watch `keras.metrics.AUC(curve='PR')`, not the accuracy."
        )
    else:
        change = (
            f"Weigh the classes, `{case.loss.name}(class_weight=[…])` of `losses`, or "
            f"`class_weight` in `fit`, or use a focal loss."
        )
    return (
        f"Class {least} has {share[least]:.1%} of {len(classes):,} labels.",
        f"The accuracy of never choosing it is {1 - share[least]:.1%}, and the loss is nearly as "
        f"content with that.",
        change,
    )


# The end of the model


@rule("error", *CROSSENTROPIES, needs_fit=False)
def activation_twice(case: Case) -> Report:
    """Softmax or sigmoid output with `from_logits=True`: the activation would be applied twice."""
    over_one = case.units == 1 and case.activation == "softmax"  # which is worse
    if not case.loss.from_logits or not case.probabilities or over_one:
        return None
    name = case.activation or "softmax"
    return (
        f"The output comes out of a {name}, and {case.loss.name} has `from_logits=True`.",
        "It would apply the activation again: the probabilities end up close to even, and the "
        "gradient small.",
        f"Take the {name} out of the last layer (this is the more exact way), or write "
        f"{case.loss.line(from_logits=False)}.",
    )


@rule("error", *CROSSENTROPIES, needs_fit=False)
def from_logits_missing(case: Case) -> Report:
    """Linear output with `from_logits=False`; values outside [0, 1], rows not summing to 1."""
    binary = case.loss.family == "binary"
    if case.loss.from_logits or case.probabilities or np.isnan(case.rows).any():
        return None
    if not case.rows.size or (case.units == 1 and not binary):
        return None
    if case.activation in ("exponential", "softplus") and not binary:
        return None  # positive numbers, which the loss divides by their sum
    if case.activation in (None, "exponential", "softplus"):
        # Where they come from does not tell: the numbers do.
        if case.within_0_1 if binary else case.sums_to_1:
            return None
    end = f" of the last layer ({case.activation})" if case.activation else ""
    sums = "" if binary or not case.within_0_1 else ", in rows that do not sum to 1"
    bent = case.activation not in (None, "linear", "log_softmax")
    without = f"Take the {case.activation} out of the last layer. " if bent else ""
    return (
        f"The output{end} goes from {case.rows.min():.3g} to {case.rows.max():.3g}{sums}.",
        f"{case.loss.name} has `from_logits=False` and takes them for probabilities.",
        f"{without}Write {case.loss.line(from_logits=True)}.",
    )


@rule("warning", "binary")
def softmax_with_binary(case: Case) -> Report:
    """Softmax over C > 2 with BCE and one-hot rows: Categorical; several true: sigmoid."""
    if not case.softmax or case.loss.from_logits:
        return None
    if case.counted.rows == "several":
        return (
            "The output is a softmax, and rows of `y` hold several 1s, or none.",
            "The units share a probability of 1, so that no two questions can be answered by yes.",
            f"No activation at the end, and {case.loss.line(from_logits=True)}.",
        )
    if case.units == 2 or not case.counted.rows:
        return None
    return (
        f"The output is a softmax over {case.units} classes, and one is true in each row of `y`.",
        f"{case.loss.name} asks {case.units} separate questions, most of which are answered by no: "
        f"the loss is small from the start, and so is the gradient.",
        f"Write {case.loss.line('CategoricalCrossentropy')}.",
    )


@rule("warning", "categorical", "sparse")
def sigmoid_with_categorical(case: Case) -> Report:
    """Sigmoid with CCE or SCCE; multi-label rows: BCE."""
    if case.activation not in SIGMOIDS or case.units < 2 or case.loss.from_logits:
        return None
    if case.loss.family == "categorical" and case.counted.rows == "several":
        return (
            "The output is a sigmoid, and rows of `y` hold several 1s, or none.",
            f"{case.loss.name} is for one true class out of several.",
            f"Write {case.loss.line('BinaryCrossentropy')}.",
        )
    return (
        f"The output is a sigmoid of {case.units} units, each by itself.",
        f"{case.loss.name} is for probabilities that sum to 1: it divides by their sum, and units "
        f"that are saturated hardly learn.",
        f"No activation at the end, and {case.loss.line(from_logits=True)}.",
    )


@rule("warning", "error")
def squared_error_of_classes(case: Case) -> Report:
    """MSE with a few whole values and a softmax: a classification."""
    labels = case.counted
    if not case.softmax or not labels.whole or len(labels.distinct) > FEW:
        return None
    return (
        f"The output is a softmax, and the labels are {some(labels.distinct)}.",
        f"This is a classification. The gradient of {case.loss.name} vanishes where the softmax is "
        f"sure, also where it is sure and wrong.",
        f"Write {case.loss.line('CategoricalCrossentropy')}.",
    )


@rule("warning", "error")
def targets_out_of_reach(case: Case) -> Report:
    """Sigmoid, tanh or relu output and targets out of its range."""
    labels = case.counted
    if case.activation not in RANGES or not labels.finite.size:
        return None
    low, high = RANGES[case.activation]
    beyond = (labels.finite < low - 1e-6) | (labels.finite > high + 1e-6)
    if not beyond.any():
        return None
    interval = f"[{shown(low)}, {shown(high)}]" if high < np.inf else f"[{shown(low)}, ∞)"
    return (
        f"{beyond.mean():.0%} of the targets, which go from {shown(labels.low)} to "
        f"{shown(labels.high)}, are outside of {interval}.",
        f"The output is a {case.activation} and cannot reach them.",
        "Take the activation out of the last layer, `activation=None`, or scale the targets.",
    )


@rule("error", needs_fit=False)
def predictions_not_finite(case: Case) -> Report:
    """The output itself is NaN."""
    missing = np.isnan(case.rows if case.loss.leaves_out else case.predictions)
    if not missing.any():
        return None
    return (
        f"{missing.mean():.0%} of the predictions are NaN, before any training.",
        "The loss is then NaN too, and after a step every weight.",
        "Look for NaN in the inputs, `np.isnan(x).any()`, and in the weights that were loaded.",
    )


# What goes with the loss


@rule("error", *CROSSENTROPIES)
def class_weight_of_many(case: Case) -> Report:
    """`class_weight` with multi-label or sequence targets: weights inside the loss."""
    if case.class_weight is None:
        return None
    why = (
        "Keras makes one weight a sample of it, from the largest entry of the last axis: of the "
        "first class that is true, or of a place in the sequence."
    )
    if case.outputs > 1:
        seen = f"`class_weight` was given with labels of {case.outputs} outputs."
        why = "Keras takes it for one output only: `fit` would stop there."
    elif case.places:
        seen = f"`class_weight` was given for several labels a sample, {case.labels.shape}."
    elif case.loss.family != "sparse" and case.units > 1 and case.counted.rows == "several":
        seen = "`class_weight` was given for rows of `y` with several 1s, or none."
    else:
        return None
    name, argument = {
        "binary": ("BinaryCrossentropy", "pos_weight"),
        "categorical": ("CategoricalCrossentropy", "class_weight"),
        "sparse": ("SparseCategoricalCrossentropy", "class_weight"),
    }[case.loss.family]
    logits = ", from_logits=True" if case.loss.from_logits else ""
    return (
        seen,
        why,
        f"Put the weights into the loss: `loss=losses.{name}({argument}=[…]{logits})`.",
    )


@rule("warning", "binary", needs_fit=False)
def threshold_of_logits(case: Case) -> Report:
    """Accuracy on logits with a threshold of 0.5: threshold 0."""
    if not case.loss.from_logits or case.probabilities:
        return None
    for metric in case.metrics:
        change = _for_logits(metric, case.units)
        if change:
            return (
                f"The output is logits, and {change.split('(')[0]} takes it for probabilities.",
                "A probability of 0.5 is a logit of 0: logits from 0 to 0.5 would count as no.",
                f"Write `metrics=[keras.metrics.{change}]`.",
            )
    return None


#: Metrics of probabilities: an argument, its default, and its value for logits.
_OF_PROBABILITIES = {
    "BinaryAccuracy": ("threshold", 0.5, 0),
    "BinaryIoU": ("threshold", 0.5, 0),
    "Precision": ("thresholds", None, 0),
    "Recall": ("thresholds", None, 0),
    "AUC": ("from_logits", False, True),
}


def _for_logits(metric: Any, units: int) -> str:
    """How a metric that takes logits for probabilities should be written; empty for others."""
    name, config = "", {}
    if isinstance(metric, str):
        name = metric.replace("_", "").lower()
    elif isinstance(metric, keras.metrics.Metric):
        config = metric.get_config()
        own = getattr(keras.metrics, type(metric).__name__, None) is type(metric)
        name = type(metric).__name__.lower() if own else ""
    elif metric is keras.metrics.binary_accuracy:
        name = "binaryaccuracy"
    if name in ("accuracy", "acc") and units == 1:
        name = "binaryaccuracy"  # what Keras takes it for
    if config.get("top_k") is not None:
        return ""  # which takes the largest, and no threshold
    for known, (argument, default, value) in _OF_PROBABILITIES.items():
        if name == known.lower() and config.get(argument, default) == default:
            return f"{known}({argument}={value})"
    return ""


def _classes(case: Case) -> np.ndarray | None:
    """The class of each sample, where a sample has one class and all are in range; else None."""
    labels = case.counted
    if case.places or not labels.all_finite or not labels.whole:
        return None
    if case.loss.family == "categorical":
        return labels.values.argmax(axis=-1) if labels.rows == "one-hot" else None
    if case.loss.family == "binary" and case.units > 1:
        return None
    valid = labels.low >= 0 and labels.high < max(case.units, 2)
    return labels.values.reshape(-1).astype("int64") if valid else None


def _line(case: Case, name: str) -> str:
    """How that loss is written for the output as it is."""
    return case.loss.line(name, from_logits=not case.probabilities)
