"""LearningRateFinder: what it tries, what it suggests, and that it leaves no trace."""

import contextlib
import random
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import callbacks, losses, optimizers
from tests.models import assert_same, data, state

LearningRateFinder = callbacks.LearningRateFinder
BACKEND = keras.backend.backend()


def model_with_everything(optimizer):
    """Dropout, batch normalization and a metric: state of every kind, and shuffled data."""
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def fit(model):
    x, y = data()
    return model.fit(x, y, batch_size=8, verbose=0).history


def everything(model):
    """All state, that of metrics included."""
    return [*state(model), *(np.asarray(v) for v in model.metrics_variables)]


def linear(optimizer, **arguments):
    """ŷ = wx from w = 0."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer, losses.MeanSquaredError(), **arguments)
    return model


# The sweep


def swept(steps, low, high, x, y, batch):
    """Rates and losses of SGD on ŷ = wx in float64, by hand."""
    w, rates, values = 0.0, [], []
    starts = range(0, len(x), batch)
    for k in range(steps):
        start = starts[k % len(starts)]
        a, b = x[start : start + batch], y[start : start + batch]
        rates.append(low * (high / low) ** (k / (steps - 1)))
        values.append(np.mean((b - w * a) ** 2))
        w -= rates[-1] * np.mean(-2 * a * (b - w * a))
    return rates, values


@pytest.mark.parametrize("steps", [5, 20, 50])
def test_rates_are_geometric_and_each_loss_is_that_of_its_batch(steps):
    x = np.random.default_rng(0).normal(size=20)
    y = 3 * x + np.random.default_rng(1).normal(size=20)
    finder = LearningRateFinder(1e-3, 0.1, steps=steps, early_stop_threshold=None)
    finder.find(linear(optimizers.SGD()), x[:, None], y[:, None], batch_size=2, shuffle=False)
    rates, values = swept(steps, 1e-3, 0.1, x, y, 2)
    np.testing.assert_allclose(finder.learning_rates, rates, rtol=1e-12)
    # A rounding of w in each step, seen in errors of 1 to 3 against values down to 0.1
    np.testing.assert_allclose(finder.losses, values, rtol=steps * 2**-23, atol=steps * 2**-23)


def test_without_steps_it_is_one_pass():
    finder = LearningRateFinder(1e-3, 0.1, steps=None)
    finder.find(linear(optimizers.SGD()), np.ones((40, 1)), np.ones((40, 1)), batch_size=4)
    assert len(finder.losses) == 10 and finder.learning_rates[-1] == pytest.approx(0.1)


def batches():
    while True:
        yield np.ones((4, 1), "float32"), np.ones((4, 1), "float32")


def test_data_of_unknown_length():
    model = linear(optimizers.SGD())
    before = state(model)
    with pytest.raises(ValueError, match="do not tell their length.*steps_per_epoch"):
        LearningRateFinder(steps=None).find(model, batches(), shuffle=False)
    assert_same(before, state(model))
    for finder, given in (
        (LearningRateFinder(steps=12), {}),
        (LearningRateFinder(steps=None), {"steps_per_epoch": 12}),
    ):
        finder.find(model, batches(), shuffle=False, **given)
        assert len(finder.losses) == 12


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has steps_per_execution=1 there only")
def test_a_rate_for_each_execution():
    model = linear(optimizers.SGD(), steps_per_execution=3)
    finder = LearningRateFinder(1e-3, 0.1, steps=20)
    x = np.linspace(1, 2, 24)[:, None]
    finder.find(model, x, x, batch_size=1, shuffle=False)
    assert len(finder.learning_rates) == 7 and finder.learning_rates[-1] == pytest.approx(0.1)
    # The first loss is the mean of three batches, and w = 0 before the first.
    w, mean = 0.0, 0.0
    for a in x[:3, 0]:
        mean += (a - w * a) ** 2 / 3
        w += 1e-3 * 2 * a * (a - w * a)
    assert finder.losses[0] == pytest.approx(mean, rel=1e-6)


def test_it_ends_where_the_loss_explodes():
    x = np.ones((8, 1))
    finder = LearningRateFinder(1e-2, 1e8, steps=100)
    finder.find(linear(optimizers.SGD()), x, x, batch_size=8)
    assert finder.learning_rates[-1] < 1e8 and finder.losses[-1] > 4 * min(finder.losses)
    further = LearningRateFinder(1e-2, 1e8, steps=100, early_stop_threshold=None)
    further.find(linear(optimizers.SGD()), x, x, batch_size=8)
    assert len(further.losses) > len(finder.losses) and not np.isfinite(further.losses[-1])
    assert finder.suggestion == pytest.approx(further.suggestion, rel=0.3)


# It leaves no trace

# An optimizer, a policy, and whether the model has been trained before.
CASES = {
    "new": (lambda: optimizers.Adam(0.1), "float32", False),
    "trained": (
        lambda: optimizers.Momentum(0.1, use_ema=True, gradient_accumulation_steps=3),
        "float32",
        True,
    ),
    "keras": (lambda: keras.optimizers.Adam(0.1), "float32", True),
    "bfloat16": (lambda: optimizers.Adam(0.1), "bfloat16", True),
    "scaled": (lambda: optimizers.RMSprop(0.1), "mixed_float16", False),
}


@contextlib.contextmanager
def interrupted(model, after):
    """After so many of its training steps comes an interruption."""
    make = model.make_train_function
    calls = []

    def made(force=False):
        make(force)
        step = model.train_function

        def function(*arguments):
            result = step(*arguments)
            calls.append(1)
            if len(calls) == after:
                model.train_function = step
                raise KeyboardInterrupt
            return result

        model.train_function = function

    model.make_train_function = made
    with pytest.raises(KeyboardInterrupt):
        yield
    model.make_train_function = make


@pytest.mark.parametrize("case", CASES)
def test_a_fit_after_it_is_the_same_bit_for_bit(case):
    make, policy, trained = CASES[case]
    keras.config.set_dtype_policy(policy)
    finals = []
    for finds in (False, True):
        model = model_with_everything(make())
        if trained:
            fit(model)
        if finds:
            x, y = data()
            LearningRateFinder(max_lr=1e3, steps=10).find(model, x, y, batch_size=8)
        history = fit(model)
        finals.append((everything(model), history))
    (one, history), (other, other_history) = finals
    assert_same(one, other)
    assert history == other_history


def test_everything_is_put_back_however_it_ends():
    model = model_with_everything(optimizers.Adam(0.1))
    fit(model)
    history = model.history
    model.evaluate(*data(), verbose=0)
    before = everything(model)
    for interruption in (None, 1, 7):
        finder = LearningRateFinder(1e-6, 1.0, steps=12)
        context = interrupted(model, interruption) if interruption else contextlib.nullcontext()
        with context:
            finder.find(model, *data(), batch_size=8)
        assert len(finder.learning_rates) == (interruption or 12)
        assert_same(before, everything(model))
        assert model.history is history
    diverging = LearningRateFinder(1e-6, 1e30, steps=40, early_stop_threshold=None)
    diverging.find(model, *data(), batch_size=8)
    assert np.isfinite(diverging.losses[:-1]).all() and not np.isfinite(diverging.losses[-1])
    assert_same(before, everything(model))
    fit(model)  # and it still trains


def draws():
    """A number of each source of random ones that can be put back."""
    numbers = [random.random(), np.random.rand()]
    if BACKEND == "torch":
        import torch

        numbers.append(float(torch.rand(())))
    if BACKEND != "jax":  # whose steps must not ask for it
        numbers.append(ops.convert_to_numpy(keras.random.uniform(())))
    return numbers


class Drawing(keras.layers.Layer):
    def call(self, x, training=False):
        if training:  # and not while the layer is built, from symbols
            draws()
        return x


def test_every_source_of_random_numbers_goes_on_where_it_was():
    drawn = []
    for finds in (False, True):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.add(Drawing())
        model.compile(optimizers.SGD(), losses.MeanSquaredError(), run_eagerly=True)
        x = np.ones((9, 1))
        model.fit(x, x, verbose=0)
        if finds:
            LearningRateFinder(steps=3).find(model, x, x, batch_size=3)
        drawn.append(draws())
    assert drawn[0] == drawn[1]


def test_the_rate_comes_back_as_it_was_given():
    model = model_with_everything(optimizers.Adam(0.1))
    LearningRateFinder(steps=5).find(model, *data())
    assert model.optimizer.get_config()["learning_rate"] == 0.1  # and not its nearest float32


def test_two_finds_are_the_same():
    model = model_with_everything(optimizers.Adam(0.1))
    fit(model)
    curves = []
    for _ in range(2):
        finder = LearningRateFinder(steps=12)
        finder.find(model, *data(), batch_size=8)
        curves.append(finder.losses)
    assert curves[0] == curves[1] and len(curves[0]) == 12


# What it cannot do is an error


def find(model, finder=None, **arguments):
    (finder or LearningRateFinder(steps=5)).find(
        model, np.ones((8, 1)), np.ones((8, 1)), **arguments
    )


def test_what_find_does_not_take():
    for name, value in (("epochs", 3), ("initial_epoch", 1), ("callbacks", [])):
        with pytest.raises(ValueError, match=f"takes no `{name}`.*{name}="):
            find(linear(optimizers.SGD()), **{name: value})
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    for rate in (schedule, lambda: 0.1):
        with pytest.raises(ValueError, match="must be a number and not a schedule"):
            find(linear(optimizers.SGD(rate)))
    with pytest.raises(ValueError, match="must be compiled"):
        find(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile(optimizers.SGD(), losses.MeanSquaredError())
    with pytest.raises(ValueError, match="must be built.*`Input`"):
        find(unbuilt)


def test_in_a_fit_of_ones_own_it_says_what_to_call():
    model = linear(optimizers.SGD())
    with pytest.raises(ValueError, match=r"finder\.find\(model, x, y"):
        model.fit(np.ones((8, 1)), np.ones((8, 1)), verbose=0, callbacks=[LearningRateFinder()])


@pytest.mark.parametrize(
    "name, interval, wrong",
    [
        ("min_lr", "(0, inf)", [0, -1, float("nan"), "x", None]),
        ("max_lr", "(1e-06, inf)", [1e-6, 1e-9, "x", None]),
        ("steps", "whole number, 2 or more", [1, 0, 2.5, "x"]),
        ("early_stop_threshold", "[1, inf)", [0.5, -1, "x"]),
    ],
)
def test_what_is_out_of_range_is_named(name, interval, wrong):
    for value in wrong:
        with pytest.raises(ValueError) as error:
            LearningRateFinder(**{name: value})
        for part in (f"`{name}`", interval, repr(value)):
            assert part in str(error.value)


# The suggestion


def with_curve(values, low=1e-6, high=10.0):
    """A finder that has seen these losses."""
    finder = LearningRateFinder(low, high, steps=len(values))
    finder.learning_rates = list(np.geomspace(low, high, len(values)))
    finder.losses = list(values)
    finder._points = len(values)
    return finder


@pytest.mark.parametrize("steepest", [1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("steps", [100, 500])
def test_the_suggestion_is_where_the_loss_falls_most_steeply(steepest, noise, steps):
    rates = np.geomspace(1e-6, 10, steps)
    decades = np.log10(rates / steepest)
    values = 1.5 - np.tanh(2 * decades) + np.where(decades > 1, (decades - 1) * 1e3, 0)
    values += noise * np.random.default_rng(0).normal(size=steps)
    suggestion = with_curve(values).suggestion
    assert abs(np.log10(suggestion / steepest)) < (0.15 if noise == 0 else 0.4)


def test_smoothing_is_a_mean_with_gaussian_weights():
    values = np.random.default_rng(0).uniform(1, 2, 50)
    values[20], values[30:] = 0.5, 1e6  # the lowest, and an explosion that counts as the highest
    capped = np.minimum(values, values[:21].max())
    expected = []
    for i in range(50):
        weights = [np.exp(-(((i - j) / 1.5) ** 2) / 2) for j in range(50)]
        expected.append(np.dot(weights, capped) / np.sum(weights))
    np.testing.assert_allclose(with_curve(values).smoothed_losses, expected, rtol=1e-12)


def test_no_curve_no_suggestion():
    for ask in ("suggestion", "smoothed_losses"):
        with pytest.raises(ValueError, match="call finder.find"):
            getattr(LearningRateFinder(), ask)
    for values in (np.linspace(1, 2, 30), np.ones(30), [float("nan"), float("nan")]):
        with pytest.raises(ValueError, match="did not fall at any of .*smaller `min_lr`"):
            _ = with_curve(values).suggestion


# The picture


def test_the_plot_shows_losses_curve_and_suggestion():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    values = 1.5 - np.tanh(np.linspace(-4, 4, 100))
    values[-1] = float("nan")
    finder = with_curve(values)
    axes = finder.plot()
    raw, smoothed, suggestion = axes.get_lines()
    np.testing.assert_array_equal(raw.get_ydata()[:-1], values[:-1])
    np.testing.assert_array_equal(smoothed.get_ydata(), finder.smoothed_losses)
    assert suggestion.get_xdata()[0] == finder.suggestion
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "learning rate"
    assert f"{finder.suggestion:.1e}" in [text.get_text() for text in axes.texts]
    own = plt.figure().subplots()
    assert finder.plot(own) is own and len(own.get_lines()) == 3
    plt.close("all")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        with_curve(np.linspace(2, 1, 30)).plot()
