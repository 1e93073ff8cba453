"""Each row of the table of rules: a set-up that triggers it, and a near neighbour that must not."""

import functools
import inspect
import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_optim_losses import losses
from keras_optim_losses.losses.advice.compiled import FAMILIES
from keras_optim_losses.losses.advice.rules import RULES
from tests.losses.advice.right import classes, compiled, dense, rng, vectors

SCCE = losses.SparseCategoricalCrossentropy
CCE = losses.CategoricalCrossentropy
BCE = losses.BinaryCrossentropy
MSE = losses.MeanSquaredError
NAN = float("nan")
SEVERITY = {rule.name: rule.severity for rule in RULES} | {"loss-fails": "error"}


def one_hot(count, *shape):
    return np.eye(count)[classes(count, *shape)]


def tags(count=4, samples=64):
    return (rng().random((samples, count)) < 0.4).astype("float32")


def of(units, loss, y, activation=None, metrics=None, **arguments):
    """A case: a Dense layer, its loss and labels; inputs as many as labels."""
    model = compiled(dense(units, activation=activation), loss, metrics=metrics)
    return model, vectors(len(y)), np.asarray(y), arguments


def steps(units, loss, y, x=None, mask=False, **arguments):
    """The same for sequences of 6 steps."""
    middle = [layers.Masking()] if mask else []
    model = keras.Sequential([keras.Input((6, 2)), *middle, layers.Dense(units)])
    x = np.ones((len(y), 6, 2)) if x is None else x
    return compiled(model, loss), x, np.asarray(y), arguments


def padded(labels, value):
    """Inputs whose steps from the fourth on are masked, and labels that hold a value there."""
    x, y = np.ones((len(labels), 6, 2)), np.array(labels)
    x[:, 3:], y[:, 3:] = 0, value
    return x, y


def rare(one_in, samples=4000):
    return (np.arange(samples) % one_in == 0).astype("int32")


def with_value(y, value):
    y = np.array(y, "float32")
    y.reshape(-1)[5] = value
    return y


def precision(y_true, y_pred):
    """Of the user's own: it may well know what it is given."""
    return keras.ops.mean(keras.ops.cast(y_pred > 0, "float32"))


class Subclass(keras.Model):
    """Its end cannot be seen, only the numbers it gives."""

    def __init__(self, units, activation=None):
        super().__init__()
        self.end = layers.Dense(units, activation=activation)

    def call(self, x):
        return self.end(x)


def unseen(units, loss, y, activation=None):
    return compiled(Subclass(units, activation), loss), vectors(len(y)), y, {}


# What the row says: the rule, a set-up that triggers it, a neighbour that does not.
ROWS = {
    "a label ≥ C": (
        "label-out-of-range",
        lambda: of(3, SCCE(from_logits=True), classes(4, 64)),
        lambda: of(4, SCCE(from_logits=True), classes(4, 64)),
    ),
    "a negative label": (
        "label-out-of-range",
        lambda: of(3, SCCE(from_logits=True), classes(4, 64) - 1),
        lambda: of(3, SCCE(from_logits=True, ignore_class=-1), classes(4, 64) - 1),
    ),
    "the smallest is 1 and the largest C": (
        "label-out-of-range",
        lambda: of(5, SCCE(from_logits=True), classes(5, 64) + 1),
        lambda: of(6, SCCE(from_logits=True), classes(5, 64) + 1),
    ),
    "a label ≥ C that has no weight": (
        "label-out-of-range",
        lambda: of(3, SCCE(from_logits=True), with_value(classes(3, 64), 9)),
        lambda: of(
            3,
            SCCE(from_logits=True),
            with_value(classes(3, 64), 9),
            sample_weight=(np.arange(64) != 5).astype("float32"),
        ),
    ),
    "a negative row": (
        "label-out-of-range",
        lambda: of(3, CCE(from_logits=True), 2 * one_hot(3, 64) - 1),
        lambda: of(3, CCE(from_logits=True), one_hot(3, 64)),
    ),
    "softmax over one unit": (
        "one-unit",
        lambda: of(1, "binary_crossentropy", classes(2, 64), "softmax"),
        lambda: of(1, "binary_crossentropy", classes(2, 64), "sigmoid"),
    ),
    "one class for a categorical loss": (
        "one-unit",
        lambda: of(1, CCE(from_logits=True), np.ones((64, 1))),
        lambda: of(2, CCE(from_logits=True), one_hot(2, 64)),
    ),
    "softmax over C > 2 with BCE and one-hot rows": (
        "softmax-with-binary",
        lambda: of(3, "binary_crossentropy", one_hot(3, 64), "softmax"),
        lambda: of(2, "binary_crossentropy", one_hot(2, 64), "softmax"),
    ),
    "softmax with BCE and several true": (
        "softmax-with-binary",
        lambda: of(4, BCE(), tags(), "softmax"),
        lambda: of(4, BCE(), tags(), "sigmoid"),
    ),
    "a softmax that cannot be seen": (
        "softmax-with-binary",
        lambda: unseen(3, BCE(), one_hot(3, 64), "softmax"),
        lambda: unseen(3, BCE(), one_hot(3, 64), "sigmoid"),
    ),
    "sigmoid with SCCE": (
        "sigmoid-with-categorical",
        lambda: of(3, SCCE(), classes(3, 64), "sigmoid"),
        lambda: of(3, SCCE(), classes(3, 64), "softmax"),
    ),
    "sigmoid with CCE and multi-label rows": (
        "sigmoid-with-categorical",
        lambda: of(4, CCE(), tags(), "sigmoid"),
        lambda: of(4, BCE(), tags(), "sigmoid"),
    ),
    "0/1 rows with other sums": (
        "multi-label-rows",
        lambda: of(4, CCE(from_logits=True), tags()),
        lambda: of(4, CCE(from_logits=True), 0.5 * one_hot(4, 64) + 0.125),
    ),
    "softmax output with from_logits": (
        "activation-twice",
        lambda: of(3, SCCE(from_logits=True), classes(3, 64), "softmax"),
        lambda: of(3, SCCE(from_logits=True), classes(3, 64), "log_softmax"),
    ),
    "sigmoid output with from_logits": (
        "activation-twice",
        lambda: of(1, BCE(from_logits=True), classes(2, 64), "sigmoid"),
        lambda: of(1, BCE(from_logits=True), classes(2, 64)),
    ),
    "linear output without from_logits": (
        "from-logits-missing",
        lambda: of(1, "binary_crossentropy", classes(2, 64)),
        lambda: of(1, "binary_crossentropy", classes(2, 64), "hard_sigmoid"),
    ),
    "values below 0 and above 1": (
        "from-logits-missing",
        lambda: unseen(2, BCE(), tags(2)),
        lambda: unseen(2, BCE(), tags(2), "sigmoid"),
    ),
    "rows that do not sum to 1": (
        "from-logits-missing",
        lambda: unseen(3, CCE(), one_hot(3, 64), "sigmoid"),
        lambda: unseen(3, CCE(), one_hot(3, 64), "softmax"),
    ),
    "positive numbers, which the loss normalizes": (
        "from-logits-missing",
        lambda: of(3, SCCE(), classes(3, 64), "relu"),
        lambda: of(3, SCCE(), classes(3, 64), "exponential"),
    ),
    "CCE with labels of one rank less": (
        "sparse-labels",
        lambda: of(3, CCE(from_logits=True), classes(3, 64)),
        lambda: of(3, SCCE(from_logits=True), classes(3, 64)),
    ),
    "CCE with a last axis of 1": (
        "sparse-labels",
        lambda: of(3, "categorical_crossentropy", classes(3, 64, 1), "softmax"),
        lambda: of(3, "sparse_categorical_crossentropy", classes(3, 64, 1), "softmax"),
    ),
    "SCCE with labels of the output's shape": (
        "one-hot-labels",
        lambda: of(3, SCCE(from_logits=True), one_hot(3, 64)),
        lambda: of(3, CCE(from_logits=True), one_hot(3, 64)),
    ),
    "labels for SCCE that are not whole": (
        "fractional-labels",
        lambda: of(4, SCCE(from_logits=True), with_value(classes(4, 64), 1.9)),
        lambda: of(4, SCCE(from_logits=True), classes(4, 64).astype("float32")),
    ),
    "BCE labels outside [0, 1]": (
        "labels-outside-0-1",
        lambda: of(1, BCE(from_logits=True), rng().normal(size=64)),
        lambda: of(1, BCE(from_logits=True), rng().random(64)),
    ),
    "a mask of 255": (
        "labels-outside-0-1",
        lambda: of(1, BCE(from_logits=True), 255 * classes(2, 64)),
        lambda: of(1, BCE(from_logits=True), classes(2, 64) > 0),
    ),
    "−1 and 1 with BCE": (
        "labels-outside-0-1",
        lambda: of(1, BCE(from_logits=True), 2 * classes(2, 64) - 1),
        lambda: of(1, "hinge", 2 * classes(2, 64) - 1),
    ),
    "classes with BCE": (
        "labels-outside-0-1",
        lambda: of(1, BCE(from_logits=True), classes(3, 64)),
        lambda: of(1, BCE(from_logits=True), classes(2, 64)),
    ),
    "MSE with shapes that would broadcast": (
        "shapes-differ",
        lambda: of(3, "mse", rng().normal(size=(64, 1))),
        lambda: of(1, "mse", rng().normal(size=(64,))),
    ),
    "MSE of one value against steps": (
        "shapes-differ",
        lambda: steps(1, "mse", rng().normal(size=(16, 1))),
        lambda: steps(1, "mse", rng().normal(size=(16, 6))),
    ),
    "labels of other steps": (
        "shapes-differ",
        lambda: steps(4, SCCE(from_logits=True), classes(4, 16)),
        lambda: steps(4, SCCE(from_logits=True), classes(4, 16, 6)),
    ),
    "MSE with a few whole values and a softmax": (
        "squared-error-of-classes",
        lambda: of(3, MSE(), one_hot(3, 64), "softmax"),
        lambda: of(3, MSE(), rng().dirichlet([1, 1, 1], 64), "softmax"),
    ),
    "sigmoid and targets out of its range": (
        "targets-out-of-reach",
        lambda: of(1, "mse", rng().uniform(0, 2, 64), "sigmoid"),
        lambda: of(1, "mse", rng().uniform(0, 1, 64), "sigmoid"),
    ),
    "tanh and targets out of its range": (
        "targets-out-of-reach",
        lambda: of(1, keras.losses.Huber(), rng().uniform(-1, 2, 64), "tanh"),
        lambda: of(1, keras.losses.Huber(), rng().uniform(-1, 1, 64), "tanh"),
    ),
    "relu and targets out of its range": (
        "targets-out-of-reach",
        lambda: of(1, "mae", rng().uniform(-1, 9, 64), "relu"),
        lambda: of(1, "mae", rng().uniform(0, 9, 64), "relu"),
    ),
    "all-zero rows": (
        "empty-rows",
        lambda: steps(3, CCE(from_logits=True), padded(one_hot(3, 16, 6), 0)[1]),
        lambda: steps(
            3,
            CCE(from_logits=True),
            padded(one_hot(3, 16, 6), 0)[1],
            padded(np.ones((16, 6)), 0)[0],
            True,
        ),
    ),
    "NaN in labels": (
        "labels-not-finite",
        lambda: of(1, MSE(), with_value(rng().normal(size=64), NAN)),
        lambda: of(
            1,
            MSE(),
            with_value(rng().normal(size=64), NAN),
            sample_weight=(np.arange(64) != 5).astype("float32"),
        ),
    ),
    "NaN without weight, which Keras multiplies by 0": (
        "labels-not-finite",
        lambda: of(
            1,
            "mse",
            with_value(rng().normal(size=64), NAN),
            sample_weight=(np.arange(64) != 5).astype("float32"),
        ),
        lambda: of(
            1,
            "mse",
            with_value(rng().normal(size=64), 0),
            sample_weight=(np.arange(64) != 5).astype("float32"),
        ),
    ),
    "inf in labels": (
        "labels-not-finite",
        lambda: of(1, "mse", with_value(rng().normal(size=64), np.inf)),
        lambda: of(1, "mse", with_value(rng().normal(size=64), 1e6)),
    ),
    "classes never seen": (
        "class-never-seen",
        lambda: of(6, SCCE(from_logits=True), classes(4, 200)),
        lambda: of(6, SCCE(from_logits=True), classes(4, 100)),  # too few to tell
    ),
    "one-hot classes never seen, but class 0 kept free": (
        "class-never-seen",
        lambda: of(4, CCE(from_logits=True), np.eye(4)[classes(3, 200)]),
        lambda: of(4, CCE(from_logits=True), np.eye(4)[classes(3, 200) + 1]),
    ),
    "the rarest of two classes under 5%": (
        "rare-class",
        lambda: of(1, BCE(from_logits=True), rare(21)),
        lambda: of(1, BCE(from_logits=True), rare(20)),
    ),
    "the rarest of several": (
        "rare-class",
        lambda: of(4, SCCE(from_logits=True), np.where(rare(50) == 1, 3, classes(3, 4000))),
        lambda: of(4, SCCE(from_logits=True), np.where(rare(30) == 1, 3, classes(3, 4000))),
    ),
    "a rare class that is weighed in the loss": (
        "rare-class",
        lambda: of(1, "bce", rare(100), "sigmoid"),
        lambda: of(1, keras.losses.BinaryFocalCrossentropy(), rare(100), "sigmoid"),
    ),
    "a rare class that is weighed in fit": (
        "rare-class",
        lambda: of(1, "bce", rare(100), "sigmoid"),
        lambda: of(1, "bce", rare(100), "sigmoid", class_weight={0: 1, 1: 99}),
    ),
    "class_weight with multi-label targets": (
        "class-weight-of-many",
        lambda: of(4, BCE(), tags(), "sigmoid", class_weight={0: 1, 1: 2, 2: 1, 3: 1}),
        lambda: of(4, CCE(), one_hot(4, 64), "softmax", class_weight={0: 1, 1: 2, 2: 1, 3: 1}),
    ),
    "class_weight with sequence targets": (
        "class-weight-of-many",
        lambda: steps(4, SCCE(from_logits=True), classes(4, 16, 6), class_weight={0: 1, 1: 2}),
        lambda: of(4, SCCE(from_logits=True), classes(4, 64, 1), class_weight={0: 1, 1: 2}),
    ),
    "accuracy on logits": (
        "threshold-of-logits",
        lambda: of(1, BCE(from_logits=True), classes(2, 64), metrics=["accuracy"]),
        lambda: of(2, SCCE(from_logits=True), classes(2, 64), metrics=["accuracy"]),
    ),
    "other metrics with a threshold": (
        "threshold-of-logits",
        lambda: of(4, BCE(from_logits=True), tags(), metrics=[keras.metrics.Precision()]),
        lambda: of(
            4, BCE(from_logits=True), tags(), metrics=[keras.metrics.Precision(thresholds=0)]
        ),
    ),
    "a metric as a function": (
        "threshold-of-logits",
        lambda: of(4, BCE(from_logits=True), tags(), metrics=[keras.metrics.binary_accuracy]),
        lambda: of(4, BCE(from_logits=True), tags(), metrics=[precision]),
    ),
    "a threshold, and none": (
        "threshold-of-logits",
        lambda: of(4, BCE(from_logits=True), tags(), metrics=[keras.metrics.Recall()]),
        lambda: of(4, BCE(from_logits=True), tags(), metrics=[keras.metrics.Recall(top_k=2)]),
    ),
    "the area under a curve of logits": (
        "threshold-of-logits",
        lambda: of(1, BCE(from_logits=True), classes(2, 64), metrics=["AUC"]),
        lambda: of(1, BCE(), classes(2, 64), "sigmoid", metrics=["AUC"]),
    ),
    "NaN in the output": (
        "predictions-not-finite",
        lambda: (
            *of(1, MSE(), rng().normal(size=64))[:1],
            with_value(vectors(), NAN),
            np.zeros(64),
            {},
        ),
        lambda: (
            *of(1, MSE(), rng().normal(size=64))[:1],
            with_value(vectors(), 1e3),
            np.zeros(64),
            {},
        ),
    ),
    "a loss that raises": (
        "loss-fails",
        lambda: of(3, MSE(), np.ones((64, 3)), sample_weight=np.ones((64, 2))),
        lambda: of(3, MSE(), np.ones((64, 3)), sample_weight=np.ones((64, 1))),
    ),
    "weights of another shape for two samples": (
        "loss-fails",
        lambda: of(3, SCCE(from_logits=True), classes(3, 2), sample_weight=np.ones((2, 2))),
        lambda: of(3, SCCE(from_logits=True), classes(3, 2), sample_weight=np.ones((2, 1))),
    ),
    "a loss that is not finite": (
        "loss-fails",
        lambda: of(1, keras.losses.Poisson(), np.ones(64)),
        lambda: of(1, keras.losses.Poisson(), np.ones(64), "softplus"),
    ),
}


def check(case):
    model, x, y, arguments = case
    return losses.check(model, x, y, **arguments)


@functools.cache
def triggered(row):
    return check(ROWS[row][1]())


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_seen_and_its_neighbour_is_not(row):
    rule, _, neighbour = ROWS[row]
    found = triggered(row)
    assert [finding.rule for finding in found] == [rule]
    assert found[0].severity == SEVERITY[rule]
    assert check(neighbour()) == []


def test_every_loss_of_the_package_is_known():
    for name in losses.__all__:
        loss = getattr(losses, name)
        if isinstance(loss, type) and issubclass(loss, losses.Loss) and loss is not losses.Loss:
            assert name in FAMILIES


def test_every_rule_has_a_row():
    assert {rule for rule, _, _ in ROWS.values()} == set(SEVERITY)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_what_was_seen_why_and_what_to_change(rule):
    assert inspect.getdoc(rule.report)
    (finding,) = triggered(next(row for row, (name, *_) in ROWS.items() if name == rule.name))
    sentences = re.findall(r"\.(?: |$)", re.sub("`[^`]*`", "code", finding.message))
    assert len(sentences) >= 3
    assert "`" in finding.message.split(". ", 2)[-1]  # the line to change comes last


# What the messages say


@pytest.mark.parametrize(
    "case, parts",
    [
        (
            lambda: of(5, SCCE(from_logits=True), classes(5, 64) + 1),
            ["from 1 to 5", "5 units, for classes 0 to 4", "`y = y - 1`"],
        ),
        (
            lambda: of(3, SCCE(from_logits=True), classes(4, 64) - 1),
            [
                "from -1 to 2",
                "`loss=losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)`",
            ],
        ),
        (
            lambda: of(2, SCCE(from_logits=True), 2 * classes(2, 64) - 1),
            ["from -1 to 1", "`y = (y + 1) // 2`"],
        ),
        (
            lambda: of(3, SCCE(from_logits=True), 10 * classes(3, 64)),
            ["from 0 to 20", "21 of them", "np.unique"],
        ),
        (
            lambda: of(3, keras.losses.CategoricalCrossentropy(from_logits=True), classes(3, 64)),
            [
                "(32,)",
                "(32, 3)",
                "`loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)`",
            ],
        ),
        (
            lambda: of(3, "mse", classes(3, 64), "softmax"),
            ["(32,)", "(32, 3)", "If the labels are classes", "SparseCategoricalCrossentropy()`"],
        ),
        (
            lambda: steps(1, "mse", rng().normal(size=(16,))),
            ["(16,)", "(16, 6, 1)", "last step"],
        ),
        (
            lambda: of(1, BCE(from_logits=True), rare(40)),
            ["Class 1 has 2.5% of 4,000", "97.5%", "pos_weight=39, from_logits=True", "AUC"],
        ),
        (
            lambda: of(1, BCE(label_smoothing=0.1), classes(2, 64)),
            ["(linear)", "BinaryCrossentropy(from_logits=True, label_smoothing=0.1)"],
        ),
        (
            lambda: of(1, keras.losses.BinaryFocalCrossentropy(gamma=3.0), classes(2, 64)),
            ["`loss=keras.losses.BinaryFocalCrossentropy(from_logits=True, gamma=3.0)`"],
        ),
        (
            lambda: of(
                3, keras.losses.CategoricalFocalCrossentropy(alpha=np.ones(3)), one_hot(3, 64)
            ),
            ["CategoricalFocalCrossentropy(from_logits=True, alpha=array([1., 1., 1.]))"],
        ),
        (
            lambda: of(
                4,
                keras.losses.BinaryFocalCrossentropy(from_logits=True),
                tags(),
                class_weight={0: 1.0, 1: 2.0},
            ),
            ["with several 1s", "`loss=losses.BinaryCrossentropy(pos_weight=[…], from_logits"],
        ),
        (
            lambda: of(1, BCE(from_logits=True), classes(3, 64)),
            ["from 0 to 2", "`Dense(3)`", "SparseCategoricalCrossentropy(from_logits=True)"],
        ),
    ],
)
def test_what_a_message_says(case, parts):
    (finding,) = check(case())
    for part in parts:
        assert part in finding.message
