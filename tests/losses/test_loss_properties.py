"""What holds for every loss, whatever its arguments, shapes, types, weights and masks are."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_optim_losses import losses
from tests.gradients import value_and_gradient
from tests.properties import examples
from tests.reference import losses as reference

BCE, CCE = losses.BinaryCrossentropy, losses.CategoricalCrossentropy
SCCE, MSE = losses.SparseCategoricalCrossentropy, losses.MeanSquaredError
SPECIFICATION = {
    BCE: reference.binary_crossentropy,
    CCE: reference.categorical_crossentropy,
    SCCE: reference.sparse_categorical_crossentropy,
    MSE: reference.mean_squared_error,
}
REDUCTIONS = ["sum_over_batch_size", "sum", "mean_with_sample_weight", None]
# JAX has float64 only where it is told so when it starts.
DTYPES = ["float16", "bfloat16", "float32"]
DTYPES += [] if keras.backend.backend() == "jax" else ["float64"]
SHAPES = [(4, 3), (4, 2, 5)]  # few, for a compiler takes its time for each
LABELS = ["int32", "int64", "uint8", "float32"]


class Masked(keras.layers.Layer):
    """Puts a mask on what passes through it, as layers do."""

    def __init__(self, mask):
        super().__init__(autocast=False)
        self.supports_masking = True
        self.mask = ops.convert_to_tensor(mask)

    def call(self, x):
        return x

    def compute_mask(self, inputs, previous_mask=None):
        return self.mask


@dataclass(frozen=True)
class Case:
    """A loss and what it is called with, in NumPy. `exact` is what the tensor will hold."""

    cls: Any
    arguments: dict
    reduction: Any
    dtype: str
    labels: np.ndarray
    exact: np.ndarray
    weight: Any = None
    mask: Any = None

    @property
    def axis(self):
        return self.arguments.get("axis", -1) % self.exact.ndim

    def loss(self, reduction="as it is"):
        reduction = self.reduction if reduction == "as it is" else reduction
        dtype = "float64" if self.dtype == "float64" else "float32"
        return self.cls(**self.arguments, reduction=reduction, dtype=dtype)

    def predictions(self):
        return ops.convert_to_tensor(self.exact, dtype=self.dtype)

    def value(self, x=None):
        """The loss of the package; of other predictions where they are given."""
        x = self.predictions() if x is None else x
        if self.mask is not None:
            x = Masked(self.mask)(x)
        return self.loss()(self.labels, x, self.weight)

    def number(self):
        return ops.convert_to_numpy(self.value()).astype("float64")

    def counted(self):
        """Which values a mask and `ignore_class` leave."""
        values = np.delete(self.exact.shape, self.axis)
        counted = np.ones(values, bool)
        if self.mask is not None:
            counted &= along(self.mask, values)
        if self.arguments.get("ignore_class") is not None:
            counted &= self.labels != self.arguments["ignore_class"]
        return counted

    def specified(self):
        """The loss of the specification, and how far rounding may lead off it."""
        labels = self.labels.astype("float64")
        values = SPECIFICATION[self.cls](labels, self.exact, **self.arguments)
        counted = self.counted()
        weight = None if self.weight is None else along(self.weight, counted.shape)
        room = self.room(np.where(counted, values, 0))
        return tuple(reference.reduced(v, self.reduction, weight, counted) for v in (values, room))

    def room(self, values):
        """How far rounding may lead each value off.

        Each of the C terms is a coefficient times a logarithm. A logarithm is off by some units in
        the last place of itself, and of the largest logit, from which it is a difference, or of 1,
        to which probabilities add up; their sum by one for each term, and the sum of values too.
        """
        unit = 2.0**-53 if self.dtype == "float64" else 2.0**-24
        terms = self.exact.shape[self.axis]
        if self.cls is MSE:
            return (terms + values.size + 8) * unit * values
        weights = self.arguments.get("pos_weight", self.arguments.get("class_weight"))
        labels = 1 if self.cls in (SCCE, BCE) else np.abs(self.labels).sum(self.axis)
        coefficient = np.maximum(1, labels) * np.max(
            1 if weights is None else np.maximum(weights, 1)
        )
        largest = np.abs(self.exact).max() if self.arguments["from_logits"] else 1
        of_terms = np.abs(values) + coefficient * (1 + largest)
        return unit * ((terms + 16) * of_terms + values.size * np.abs(values))


def along(flags, shape):
    """Flags or weights without some of the trailing axes, with all of them."""
    flags = np.asarray(flags)
    return np.broadcast_to(flags.reshape(flags.shape + (1,) * (len(shape) - flags.ndim)), shape)


def rounded(x, dtype):
    """The numbers of that type nearest to x."""
    x = ops.cast(ops.convert_to_tensor(x.astype("float32")), dtype) if dtype != "float64" else x
    return ops.convert_to_numpy(ops.cast(x, "float64" if dtype == "float64" else "float32")).astype(
        "float64"
    )


@st.composite
def cases(draw, classes=(BCE, CCE, SCCE, MSE), masks=True, dtypes=DTYPES, reductions=REDUCTIONS):
    cls = draw(st.sampled_from(classes))
    shape = draw(st.sampled_from(SHAPES))
    dtype = draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arguments: dict = {}
    if cls is not MSE:
        arguments["from_logits"] = draw(st.booleans())
        arguments["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
        arguments["axis"] = draw(st.sampled_from([-1, len(shape) - 1, 1]))
        classes_count = shape[arguments["axis"]]
        if draw(st.booleans()):
            weights = rng.uniform(0, 3, classes_count).astype("float32")
            weights[rng.random(classes_count) < 0.3] = 0
            arguments["pos_weight" if cls is BCE else "class_weight"] = weights.tolist()
    axis = arguments.get("axis", -1) % len(shape)
    values = tuple(np.delete(shape, axis))
    if cls is MSE or arguments["from_logits"]:
        exact = rng.normal(size=shape) * draw(st.sampled_from([0.1, 1, 20]))
    else:
        # 2⁻⁶ from 0 and 1, which bfloat16 still tells from them.
        exact = rng.uniform(2.0**-6, 1 - 2.0**-6, shape)
    if cls is SCCE:
        labels = rng.integers(0, shape[axis], values)
        ignored = draw(st.sampled_from([None, 0, 255]))
        if ignored is not None:
            arguments["ignore_class"] = ignored
            labels[rng.random(values) < 0.3] = ignored
        labels = labels.astype(draw(st.sampled_from(LABELS)))
    elif cls is MSE or draw(st.booleans()):
        labels = rng.uniform(0, 1, shape).astype("float32")
    else:
        labels = (rng.random(shape) < 0.4).astype(draw(st.sampled_from(LABELS)))
    weight = mask = None
    kind = draw(st.sampled_from(["none", "samples", "values"]))
    if kind != "none":
        size = values if kind == "values" else values[:1]
        weight = rng.uniform(0, 2, size).astype("float32")
        weight[rng.random(size) < 0.2] = 0
    if masks and draw(st.booleans()):
        mask = rng.random(values) < 0.6
    reduction = draw(st.sampled_from(reductions))
    return Case(cls, arguments, reduction, dtype, labels, rounded(exact, dtype), weight, mask)


def assert_close(got, expected, room):
    assert np.shape(got) == np.shape(expected) and np.isfinite(got).all()
    assert (np.abs(got - expected) <= room).all(), (np.abs(got - expected) / room).max()


@examples(80)
@given(cases())
def test_equals_the_specification(case):
    assert_close(case.number(), *case.specified())


def part(case, rows):
    """The case of some of its samples, in that order."""
    parts = {"labels": case.labels, "exact": case.exact, "weight": case.weight, "mask": case.mask}
    return replace(case, **{name: x if x is None else x[rows] for name, x in parts.items()})


@examples(30)
@given(cases(), st.permutations(range(4)))
def test_the_order_of_samples_does_not_matter(case, order):
    number, (_, room) = case.number(), case.specified()
    if case.reduction is None:
        number, room = number[order], room[order]
    assert_close(part(case, order).number(), number, 2 * room)


@examples(30)
@given(cases(reductions=["sum"]))
def test_batches_add_up(case):
    parts = [part(case, rows) for rows in ([0, 1], [2, 3])]
    assert_close(sum(p.number() for p in parts), *case.specified())


def padded(case, content):
    """Two samples more, of any content, that a mask leaves out."""

    def longer(x, filler):
        if x is not None:
            return np.concatenate([x, np.full((2, *x.shape[1:]), filler, x.dtype)])

    whole = np.issubdtype(case.labels.dtype, np.integer)
    mask = np.ones(case.counted().shape, bool) if case.mask is None else case.mask
    return replace(
        case,
        labels=longer(case.labels, 77 if whole else content),
        exact=longer(case.exact, content),
        weight=longer(case.weight, content),
        mask=longer(mask, False),
    )


@examples(40)
@given(cases(), st.sampled_from([np.nan, np.inf, -np.inf, -7.0]))
def test_masked_padding_is_nothing_whatever_it_holds(case, content):
    longer, (expected, room) = padded(case, content), case.specified()
    got = longer.number()
    if case.reduction is None:
        np.testing.assert_array_equal(got[-2:], 0)
        got = got[:-2]
    assert_close(got, expected, room)


@examples(15)
@given(cases(reductions=REDUCTIONS[:3]), st.sampled_from([np.nan, np.inf]))
def test_masked_padding_has_no_gradient(case, content):
    _, expected = value_and_gradient(case.value, case.predictions())
    longer = padded(case, content)
    _, gradient = value_and_gradient(longer.value, longer.predictions())
    np.testing.assert_array_equal(gradient[-2:], 0)
    # The same operations, but for the order of sums; rounded once to the type of predictions.
    rounding = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
    unit = rounding[case.dtype]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient[:-2], expected, rtol=4 * unit, atol=16 * 2.0**-24 * scale)


@examples(30)
@given(cases())
def test_the_type_of_whole_labels_does_not_matter(case):
    if np.issubdtype(case.labels.dtype, np.integer):
        floats = replace(case, labels=case.labels.astype("float32"))
        np.testing.assert_array_equal(floats.number(), case.number())


@examples(30)
@given(cases(classes=(SCCE,)))
def test_one_hot_rows_and_integers_are_one_loss(case):
    classes, axis = case.exact.shape[case.axis], case.axis
    labels = np.where(case.labels < classes, case.labels, 0).astype(int)
    one_hot = np.moveaxis(np.eye(classes, dtype="float32")[labels], -1, axis)
    arguments = {k: v for k, v in case.arguments.items() if k != "ignore_class"}
    # What is ignored is masked, for one-hot rows have no such class.
    dense = replace(case, cls=CCE, arguments=arguments, labels=one_hot, mask=case.counted())
    assert_close(dense.number(), case.number(), 2 * case.specified()[1])


@examples(30)
@given(cases(classes=(BCE,), dtypes=["float32"]))
def test_one_question_is_a_choice_of_two_classes(case):
    arguments = case.arguments | {"axis": -1}
    weights = arguments.pop("pos_weight", None)
    if weights is not None:
        weights = weights[:1]
    y, x = case.labels[..., :1].astype("float32"), case.exact[..., :1]
    no = np.zeros_like(x) if arguments["from_logits"] else 1 - x
    shape = {"weight": None, "mask": None}  # those of the case belong to another axis
    one = replace(case, arguments=arguments | {"pos_weight": weights}, labels=y, exact=x, **shape)
    two = replace(
        case,
        cls=CCE,
        arguments=arguments | {"class_weight": weights and [1.0, *weights]},
        labels=np.concatenate([1 - y, y], -1),
        exact=np.concatenate([no, x], -1),
        **shape,
    )
    assert_close(two.number(), one.number(), 2 * two.specified()[1])
