"""Every loss against its specification, in every type, and its gradient by finite differences."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import losses
from tests.gradients import value_and_gradient
from tests.reference import losses as reference

SHAPE = (4, 3, 5)  # (batch, time, classes)


def grid(**choices):
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


WEIGHTS = (
    {"axis": -1, "weights": [0.5, 2.0, 1.0, 0.0, 3.0]},
    {"axis": 1, "weights": [0.5, 2.0, 1.0]},
)


def with_weights(name, **choices):
    """All combinations of the choices, on either axis, with and without weights."""
    return [
        {**rest, "axis": axis["axis"], name: weights}
        for rest in grid(**choices)
        for axis in WEIGHTS
        for weights in (None, axis["weights"])
    ]


CASES = [
    *(
        (losses.BinaryCrossentropy, reference.binary_crossentropy, arguments)
        for arguments in [
            *with_weights("pos_weight", from_logits=[False, True], label_smoothing=[0.0, 0.2]),
            {"pos_weight": 3.0},
        ]
    ),
    *(
        (losses.CategoricalCrossentropy, reference.categorical_crossentropy, arguments)
        for arguments in with_weights(
            "class_weight", from_logits=[False, True], label_smoothing=[0.0, 0.2]
        )
    ),
    *(
        (losses.SparseCategoricalCrossentropy, reference.sparse_categorical_crossentropy, arguments)
        for arguments in with_weights(
            "class_weight",
            from_logits=[False, True],
            label_smoothing=[0.0, 0.2],
            ignore_class=[None, 1],
        )
    ),
    (losses.MeanSquaredError, reference.mean_squared_error, {}),
]


def inputs(cls, arguments, dtype="float64"):
    """Labels and predictions, rounded to `dtype` so that both sides get the same numbers."""
    rng = np.random.default_rng(4)
    axis = arguments.get("axis", -1)
    if arguments.get("from_logits") or cls is losses.MeanSquaredError:
        predictions = rng.normal(size=SHAPE) * 3
    elif cls is losses.BinaryCrossentropy:
        predictions = rng.uniform(0.05, 0.95, SHAPE)
    else:
        predictions = reference.softmax(rng.normal(size=SHAPE), axis)
    if cls is losses.SparseCategoricalCrossentropy:
        shape = tuple(np.delete(SHAPE, axis))
        labels = rng.integers(0, SHAPE[axis], shape)
    elif cls is losses.CategoricalCrossentropy:
        labels = rng.uniform(0, 1, SHAPE)  # rows that do not sum to 1, with zeros
        labels[rng.random(SHAPE) < 0.3] = 0
    else:
        labels = rng.integers(0, 2, SHAPE)
    if dtype == "float64":
        return labels, ops.convert_to_tensor(predictions), predictions
    rounded = ops.cast(ops.convert_to_tensor(predictions.astype("float32")), dtype)
    exact = ops.convert_to_numpy(ops.cast(rounded, "float32")).astype("float64")
    return labels, rounded, exact


def expected_loss(function, arguments, labels, predictions, weight, reduction):
    values = function(labels, predictions, **arguments)
    ignored = arguments.get("ignore_class")
    counted = None if ignored is None else labels != ignored
    return reference.reduced(values, reduction, weight, counted)


# JAX has float64 only where it is told so when it starts.
WIDE = ["float32"] if keras.backend.backend() == "jax" else ["float32", "float64"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", *WIDE])
@pytest.mark.parametrize("cls, function, arguments", CASES)
def test_values(cls, function, arguments, dtype):
    labels, predictions, exact = inputs(cls, arguments, dtype)
    got = cls(**arguments, reduction=None)(labels, predictions)
    # A few units in the last place of the terms, which are below 20 in sum, before the result is
    # cast to the loss's type, which is float32.
    room = 2e-6 if dtype != "float64" else 2.0**-24
    expected = function(labels, exact, **arguments)
    np.testing.assert_allclose(ops.convert_to_numpy(got), expected, rtol=room, atol=room)
    total = cls(**arguments, dtype=dtype)(labels, predictions)
    assert keras.backend.standardize_dtype(total.dtype) == dtype
    mean = expected_loss(function, arguments, labels, exact, None, "mean")
    if dtype == "float64":
        np.testing.assert_allclose(float(total), mean, rtol=1e-14)
    else:
        half = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 0.0}[dtype]  # one rounding
        np.testing.assert_allclose(float(ops.cast(total, "float32")), mean, rtol=half + 2e-6)


def finite_differences(function, x, step=1e-6):
    """The gradient of a NumPy function, by central differences, in float64."""
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[i] = step
        gradient[i] = (function(x + shift) - function(x - shift)) / (2 * step)
    return gradient


REDUCTIONS = ["sum_over_batch_size", "sum", "mean_with_sample_weight"]


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cls, function, arguments", CASES)
def test_gradients_by_finite_differences(cls, function, arguments, weighted, dtype):
    for reduction in REDUCTIONS:
        assert_gradient(cls, function, arguments, weighted, dtype, reduction)


def assert_gradient(cls, function, arguments, weighted, dtype, reduction):
    # Differences over 1e-6 are good to 1e-9 of what they are of; float32 arithmetic is to 1e-6.
    room = {"float32": 2e-6, "float64": 2e-8}[dtype]
    labels, predictions, exact = inputs(cls, arguments, dtype)
    axis = arguments.get("axis", -1)
    rank = np.delete(SHAPE, axis)
    weight = np.random.default_rng(1).uniform(0, 2, rank) if weighted else None

    def specified(x):
        return expected_loss(function, arguments, labels, x, weight, reduction)

    loss = cls(**arguments, reduction=reduction, dtype=dtype)
    value, gradient = value_and_gradient(lambda x: loss(labels, x, weight), predictions)
    np.testing.assert_allclose(value, specified(exact), rtol=room)
    expected = finite_differences(specified, exact)
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(gradient, expected, rtol=5 * room, atol=room * scale)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("cls, function, arguments", CASES)
def test_gradients_in_half_types(cls, function, arguments, dtype):
    labels, predictions, exact = inputs(cls, arguments, dtype)
    loss = cls(**arguments, reduction="sum")
    _, gradient = value_and_gradient(lambda x: loss(labels, x), predictions)

    def specified(x):
        return expected_loss(function, arguments, labels, x, None, "sum")

    expected = finite_differences(specified, exact)
    rounding = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]  # of the gradient, once
    np.testing.assert_allclose(gradient, expected, rtol=2 * rounding, atol=1e-5)


@pytest.mark.parametrize("arguments", [{}, {"class_weight": [0.5, 1, 2.0, 0, 1]}])
@pytest.mark.parametrize("from_logits", [False, True])
def test_one_hot_and_integers_are_one_loss_bit_for_bit(arguments, from_logits):
    classes = np.random.default_rng(0).integers(0, 5, 20)
    x = np.random.default_rng(1).uniform(0.1, 1, (20, 5)).astype("float32")
    sparse = losses.SparseCategoricalCrossentropy(from_logits, reduction=None, **arguments)
    dense = losses.CategoricalCrossentropy(from_logits, reduction=None, **arguments)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(sparse(classes, x)), ops.convert_to_numpy(dense(np.eye(5)[classes], x))
    )


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_same_number_as_keras_where_keras_is_right(from_logits, smoothing):
    rng = np.random.default_rng(0)
    y, classes = rng.integers(0, 2, (8, 5)).astype("float32"), rng.integers(0, 5, 8)
    p = reference.softmax(rng.normal(size=(8, 5)), -1).astype("float32")
    x = rng.normal(size=(8, 5)).astype("float32") if from_logits else p
    weight = rng.uniform(0, 2, 8).astype("float32")
    pairs = [
        ("BinaryCrossentropy", y, {"from_logits": from_logits, "label_smoothing": smoothing}),
        (
            "CategoricalCrossentropy",
            np.eye(5, dtype="float32")[classes],
            {"from_logits": from_logits, "label_smoothing": smoothing},
        ),
        ("SparseCategoricalCrossentropy", classes, {"from_logits": from_logits}),
        ("MeanSquaredError", y, {}),
    ]
    for name, labels, arguments in pairs:
        for reduction in (None, *REDUCTIONS):
            ours = getattr(losses, name)(**arguments, reduction=reduction)
            theirs = getattr(keras.losses, name)(**arguments, reduction=reduction)
            for given in (None, weight):
                np.testing.assert_allclose(
                    ops.convert_to_numpy(ours(labels, x, given)),
                    ops.convert_to_numpy(theirs(labels, x, given)),
                    rtol=3e-6,
                    atol=1e-6,
                )
