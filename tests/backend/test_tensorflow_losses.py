"""Losses fused on TensorFlow: the values and gradients that the formula has without it."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import losses
from keras_optim_losses.backend import tensorflow_losses as backend
from tests.backend.replicas import mirrored
from tests.gradients import value_and_gradient
from tests.losses import test_values_and_gradients as cases
from tests.losses.test_pitfalls import BAD

# Every second one: all of them are tested without a compiler.
some_cases = pytest.mark.parametrize("cls, function, arguments", cases.CASES[1::2])


@pytest.fixture
def fused(monkeypatch):
    """Every loss is compiled, however small."""
    monkeypatch.setattr(backend, "LARGE", 1)
    traced = []
    compile_ = backend.Fused._compile
    monkeypatch.setattr(
        backend.Fused, "_compile", lambda *a: traced.append(1) or compile_(*a), raising=True
    )
    yield
    assert traced, "nothing was compiled"


@some_cases
def test_values(cls, function, arguments, fused):
    cases.test_values(cls, function, arguments, "float32")


@pytest.mark.parametrize(
    "cls, function, arguments, reduction",
    [(*c, r) for c, r in zip(cases.CASES[1::2], itertools.cycle(cases.REDUCTIONS))],
)
def test_gradients_by_finite_differences(cls, function, arguments, reduction, fused):
    cases.assert_gradient(cls, function, arguments, True, "float64", reduction)


WIDE = [
    ("BinaryCrossentropy", {"from_logits": True}),
    ("BinaryCrossentropy", {"from_logits": True, "pos_weight": 3.0}),
    ("BinaryCrossentropy", {"pos_weight": 3.0}),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", {}),
    ("SparseCategoricalCrossentropy", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0, "label_smoothing": 0.1}),
    ("MeanSquaredError", {}),
]


def wide(name, arguments, dtype="float64"):
    """Labels and predictions (6, 24): an axis that is summed in several chains."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(6, 24)) * 3
    if "Mean" not in name and not arguments.get("from_logits"):
        z = np.exp(z / 3) / np.exp(z / 3).sum(-1, keepdims=True)
    y = rng.uniform(0, 1, (6, 24))
    if name.startswith("Sparse"):
        y = rng.integers(0, 24, 6)
    return tf.constant(y), tf.constant(z, dtype)


@pytest.mark.parametrize(
    "way, name, arguments",
    [*(("graph", *case) for case in WIDE), *((w, *WIDE[5]) for w in ("eager", "xla"))],
)
def test_first_and_second_derivatives_are_those_of_the_formula(
    way, name, arguments, monkeypatch, fused
):
    y, z = wide(name, arguments)
    weight = tf.constant(np.random.default_rng(1).uniform(0.5, 2, 6))

    def penalty(z, y, weight):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(y, z, weight)
        slope = tape.gradient(value, z)
        return value + tf.reduce_sum(slope**2) + tf.reduce_sum(tf.sin(slope))

    def everything(z, y, weight):
        with tf.GradientTape() as tape:
            tape.watch([z, weight])
            value = penalty(z, y, weight)
        return [value, *tape.gradient(value, [z, weight])]

    results = []
    for large in (1, 10**9):  # fused, and not
        monkeypatch.setattr(backend, "LARGE", large)
        loss = getattr(losses, name)(dtype="float64", **arguments)
        function = everything
        if way != "eager":
            function = tf.function(everything, jit_compile=way == "xla", autograph=False)
        results.append([np.asarray(x) for x in function(z, y, weight)])
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    # And the gradient of the penalty is that of finite differences.
    shift = np.zeros(z.shape)
    shift[2, 3] = 1e-6
    sides = [float(penalty(z + s * shift, y, weight)) for s in (1, -1)]
    assert results[0][1][2, 3] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_what_is_almost_right_adds_up(fused):
    """Losses far below a unit of 1, whose logarithms are taken together."""
    z = np.random.default_rng(0).uniform(18, 30, (4, 24)).astype("float32")
    z *= np.where(np.arange(24) % 3, 1, -1).astype("float32")
    z[0, :2] = -np.inf, np.inf  # whose loss is 0
    y = (z > 0).astype("float32")
    expected = np.log1p(np.exp(-np.abs(z.astype("float64")))).mean(-1)
    got = losses.BinaryCrossentropy(from_logits=True, reduction=None)(y, z)
    # An exponential is off by two units, and 24 terms are added.
    np.testing.assert_allclose(got, expected, rtol=(2 + 24) * 2**-24)


@pytest.mark.parametrize("name", ["BinaryCrossentropy", "CategoricalCrossentropy"])
def test_labels_have_a_gradient_where_somebody_asks(name, fused):
    y, z = wide(name, {"from_logits": True})
    loss = getattr(losses, name)(from_logits=True, reduction="sum", dtype="float64")
    _, gradient = value_and_gradient(lambda y: loss(y, z), y)
    # Both are linear in y: −log σ(z) + log σ(−z) = −z in one, −log softmax(z) in the other.
    logits = z.numpy()
    expected = -logits / 24
    if name == "CategoricalCrossentropy":
        expected = np.log(np.exp(logits).sum(-1, keepdims=True)) - logits
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [10, 24])
def test_small_losses_keep_their_digits_in_float32(size, fused):
    """A right and confident logit has a loss of e^−z, which must not be rounded away."""
    z = np.linspace(5, 60, size, dtype="float32")[None]
    loss = losses.BinaryCrossentropy(from_logits=True, reduction="sum")
    for given, y in ((z, np.ones_like(z)), (-z, np.zeros_like(z))):
        value = float(loss(y, given))
        expected = np.log1p(np.exp(-z.astype("float64"))).mean()
        assert value == pytest.approx(expected, rel=4 * 2.0**-23)


@pytest.mark.parametrize("loss, y, message", BAD)
def test_labels_out_of_range_are_nan(loss, y, message, fused):
    y = tf.constant(y.astype("float32") if y.dtype == "float64" else y)

    @tf.function(autograph=False)
    def function(y, p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(y, p)
        return value, tape.gradient(value, p)

    value, gradient = function(y, tf.fill([2, 3], 1 / 3))
    assert np.isnan(float(value)), message
    assert np.isfinite(gradient.numpy()).all()  # so that the weights survive


def test_an_argument_that_changes_counts_at_once(fused):
    loss = losses.BinaryCrossentropy(from_logits=True)
    y, z = np.ones((1, 4), "float32"), np.zeros((1, 4), "float32")
    assert float(loss(y, z)) == pytest.approx(np.log(2), rel=1e-6)
    loss.pos_weight = 3.0
    assert float(loss(y, z)) == pytest.approx(3 * np.log(2), rel=1e-6)


def test_the_function_compiles_once(monkeypatch):
    monkeypatch.setattr(backend, "LARGE", 1)
    compiled = []
    monkeypatch.setattr(backend, "fused", lambda f: compiled.append(f) or f)
    for _ in range(3):
        losses.binary_crossentropy(np.ones((2, 7)), np.full((2, 7), 0.25), pos_weight=[1.5] * 7)
    assert len(compiled) == 2  # the value and the gradient


def test_mean_over_the_replicas_of_a_strategy(fused):
    strategy = mirrored()
    loss = losses.MeanSquaredError()
    p = np.arange(8, dtype="float32").reshape(2, 4)
    with strategy.scope():
        parts = strategy.run(lambda: loss(tf.zeros((2, 4)), tf.constant(p)))
    total = float(strategy.reduce("SUM", parts, axis=None))
    assert total == pytest.approx((p**2).mean(), rel=1e-6)
    assert float(loss(np.zeros((2, 4)), p)) == pytest.approx((p**2).mean(), rel=1e-6)


def test_fit_of_a_wide_output_trains_as_with_keras():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8)).astype("float32"), rng.integers(0, 1024, 64)
    histories = []
    for loss in (losses, keras.losses):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1024)])
        model.compile("sgd", loss.SparseCategoricalCrossentropy(from_logits=True))
        histories.append(model.fit(x, y, epochs=3, batch_size=24, verbose=0).history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-5)
