"""UpdateMonitor: its numbers against float64, and that training is the same with it."""

import csv

import keras
import numpy as np
import pytest

from keras_optim_losses import callbacks, losses, optimizers
from tests.models import assert_same, compiled, data, state, values

UpdateMonitor = callbacks.UpdateMonitor
BACKEND = keras.backend.backend()
NAMES = ("gradient_norm", "update_norm", "update_ratio", "effective_rate")

X = np.random.default_rng(0).normal(size=(24, 3))
Y = np.random.default_rng(1).normal(size=(24, 2))


class Watching(keras.callbacks.Callback):
    """The weights after each batch, and the logs that the monitor before it has written."""

    def __init__(self):
        super().__init__()
        self.weights, self.logs = [], []

    def on_train_begin(self, logs=None):
        self.weights.append(values(self.model.trainable_variables))

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(values(self.model.trainable_variables))
        self.logs.append(dict(logs))


def linear(optimizer, **arguments):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    model.compile(optimizer, losses.MeanSquaredError(), **arguments)
    return model


def watched(model, epochs=1, **arguments):
    watching = Watching()
    arguments = {"update_freq": "batch", **arguments}
    history = model.fit(
        X,
        Y,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[UpdateMonitor(**arguments), watching],
    )
    return watching, history.history


def gradient(weights, batch):
    """That of the mean squared error of a linear layer, in float64, kernel and bias."""
    x, y = X[4 * batch : 4 * batch + 4], Y[4 * batch : 4 * batch + 4]
    error = 2 * (x @ weights[0] + weights[1] - y) / y.size
    return [x.T @ error, error.sum(axis=0)]


def norm(arrays):
    return np.sqrt(sum(np.square(a).sum() for a in arrays))


def expected(weights, gradients):
    """The quantities of one update, from the weights round it."""
    before, after = weights
    moved = [b - a for a, b in zip(before, after)]
    g, d, w = norm(gradients), norm(moved), norm(before)
    return dict(zip(NAMES, (g, d, d / w, d / g)))


def close(found, wanted, weights):
    for name, value in wanted.items():
        # Weights are rounded to 2⁻²⁴ of themselves, and Δw is their difference.
        moved = 2 * 2**-24 * norm(weights) / wanted["update_norm"]
        tolerance = 8 * 2**-23 + (0 if name == "gradient_norm" else moved)
        assert found[name] == pytest.approx(value, rel=tolerance), name


# The numbers


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(0.1),
        lambda: optimizers.Momentum(0.1, weight_decay=0.1),
        lambda: optimizers.Adam(0.1, clipnorm=0.01),
        lambda: optimizers.RMSprop(0.1, loss_scale_factor=1024.0),
        lambda: optimizers.Adagrad(0.1, use_ema=True, ema_overwrite_frequency=2),
    ],
    ids=["SGD", "decay", "clipped", "scaled", "averaged"],
)
def test_values_of_each_batch_and_of_the_epoch(make):
    watching, history = watched(linear(make()))
    rows = []
    for i, logs in enumerate(watching.logs):
        round_it = watching.weights[i : i + 2]
        wanted = expected(round_it, gradient(round_it[0], i))
        close(logs, wanted, round_it[0])
        rows.append([wanted["gradient_norm"], wanted["update_norm"], norm(round_it[0])])
    assert len(rows) == 6
    g, d, w = np.sqrt(np.mean(np.square(rows), axis=0))
    close({n: v[-1] for n, v in history.items()}, dict(zip(NAMES, (g, d, d / w, d / g))), [w])


def test_sgd_has_its_own_rate_as_effective_rate():
    watching, history = watched(linear(optimizers.SGD(0.125)), epochs=2)
    for found in [*(logs["effective_rate"] for logs in watching.logs), *history["effective_rate"]]:
        assert found == pytest.approx(0.125, rel=1e-4)  # Δw is rounded as w is


def test_clipping_shows_in_the_update_and_not_in_the_gradient():
    _, history = watched(linear(optimizers.SGD(1.0, global_clipnorm=1e-3)))
    assert history["gradient_norm"][0] > 0.1
    assert history["update_norm"][0] == pytest.approx(1e-3, rel=1e-3)


def test_while_gradients_accumulate_there_is_no_update():
    watching, history = watched(linear(optimizers.SGD(0.1, gradient_accumulation_steps=3)))
    updates = [i for i, logs in enumerate(watching.logs) if np.isfinite(logs["update_norm"])]
    assert updates == [2, 5]
    for i in updates:
        before = watching.weights[i]
        mean = [sum(parts) / 3 for parts in zip(*(gradient(before, j) for j in (i - 2, i - 1, i)))]
        close(watching.logs[i], expected(watching.weights[i : i + 2], mean), before)
    two = [watching.logs[i]["gradient_norm"] for i in updates]
    assert history["gradient_norm"] == pytest.approx([np.sqrt(np.mean(np.square(two)))], rel=1e-6)


def test_each_layer():
    model = compiled(optimizers.Adam(0.01))
    x, y = data()
    watching = Watching()
    monitor = UpdateMonitor(per_layer=True, update_freq="batch")
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[monitor, watching])
    assert {name for name in watching.logs[0] if "/" in name} == {
        f"{name}/{layer}" for name in NAMES for layer in ("hidden", "output")
    }
    for i, logs in enumerate(watching.logs):
        before, after = watching.weights[i], watching.weights[i + 1]
        for layer, part in (("hidden", slice(0, 2)), ("output", slice(2, 4))):
            moved = norm([b - a for a, b in zip(before[part], after[part])])
            assert logs[f"update_norm/{layer}"] == pytest.approx(moved, rel=1e-4)
            ratio = moved / norm(before[part])
            assert logs[f"update_ratio/{layer}"] == pytest.approx(ratio, rel=1e-4)
        squares = [logs[f"gradient_norm/{layer}"] ** 2 for layer in ("hidden", "output")]
        assert logs["gradient_norm"] == pytest.approx(np.sqrt(sum(squares)), rel=1e-6)


def test_half_precision_weights_count_with_all_their_digits():
    """An update that bfloat16 weights would mostly round away."""
    keras.config.set_dtype_policy("bfloat16")
    _, history = watched(linear(optimizers.SGD(1e-4)), epochs=2)
    assert history["effective_rate"] == pytest.approx([1e-4] * 2, rel=1e-2)


def test_the_gradient_under_a_dynamic_loss_scale():
    keras.config.set_dtype_policy("mixed_float16")
    model = linear(optimizers.SGD(0.1))
    # The first steps overflow, and are left out.
    model.compile(
        keras.optimizers.LossScaleOptimizer(optimizers.SGD(0.1), initial_scale=2.0**19),
        losses.MeanSquaredError(),
    )
    watching, history = watched(model, epochs=2)
    found = [logs["gradient_norm"] for logs in watching.logs]
    left_out = [bool(np.isnan(value)) for value in found]
    assert left_out[0] and not left_out[-1]
    moved = [
        norm([a - b for a, b in zip(*pair)]) for pair in zip(watching.weights[1:], watching.weights)
    ]
    assert [bool(d == 0) for d in moved] == left_out
    last = gradient(watching.weights[-2], 5)
    assert found[-1] == pytest.approx(norm(last), rel=2**-7)  # activations have 11 bits
    assert np.isfinite(history["gradient_norm"][1])


def test_an_update_that_is_left_out_is_none():
    model = linear(optimizers.SGD(0.1, skip_nonfinite=True))
    x = X.copy()
    x[9] = np.inf
    given = [UpdateMonitor(update_freq="batch"), watching := Watching()]
    model.fit(x, Y, batch_size=4, shuffle=False, verbose=0, callbacks=given)
    found = [logs["gradient_norm"] for logs in watching.logs]
    assert [bool(np.isnan(value)) for value in found] == [False, False, True, False, False, False]
    history = model.history.history["gradient_norm"][0]
    assert history == pytest.approx(np.sqrt(np.nanmean(np.square(found))), rel=1e-6)


def test_stochastic_rounding_shows_what_weights_really_do():
    keras.config.set_dtype_policy("bfloat16")
    watching, _ = watched(linear(optimizers.SGD(1e-3, stochastic_rounding=True)))
    for i, logs in enumerate(watching.logs):
        moved = norm([b - a for a, b in zip(*watching.weights[i : i + 2])])
        assert logs["update_norm"] == pytest.approx(moved, rel=1e-6)


def test_every_nth_batch():
    watching, history = watched(linear(optimizers.SGD(0.1)), update_freq=3)
    assert [i for i, logs in enumerate(watching.logs) if "update_norm" in logs] == [2, 5]
    each, _ = watched(linear(optimizers.SGD(0.1)))
    singles = np.array([logs["gradient_norm"] for logs in each.logs])
    for i, part in ((2, singles[:3]), (5, singles[3:])):
        mean = np.sqrt(np.mean(np.square(part)))
        assert watching.logs[i]["gradient_norm"] == pytest.approx(mean, rel=1e-6)
    assert history["gradient_norm"][0] == pytest.approx(np.sqrt(np.mean(singles**2)), rel=1e-6)


def test_nan_gradients_are_nan_in_the_logs():
    watching, history = watched(linear(optimizers.SGD(1e30)))
    assert np.isnan(watching.logs[-1]["gradient_norm"]) and np.isnan(history["update_norm"][0])
    assert np.isfinite(watching.logs[0]["gradient_norm"])


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has steps_per_execution=1 there only")
def test_a_batch_is_an_execution():
    watching, history = watched(linear(optimizers.SGD(0.1), steps_per_execution=3))
    each, single = watched(linear(optimizers.SGD(0.1)))
    assert len(watching.logs) == 2
    for name in NAMES:
        assert history[name] == pytest.approx(single[name], rel=1e-5)
    first = [logs["gradient_norm"] for logs in each.logs[:3]]
    mean = np.sqrt(np.mean(np.square(first)))
    assert watching.logs[0]["gradient_norm"] == pytest.approx(mean, rel=1e-5)


# Training is the same with it, and nothing of it stays


# JAX without its compiler takes long, and torch.compile a C++ compiler.
JITS = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[BACKEND]


@pytest.mark.parametrize("jit_compile", JITS)
def test_training_is_the_same_bit_for_bit(jit_compile):
    results = []
    for given in ([], [UpdateMonitor(per_layer=True, update_freq="batch")]):
        model = compiled(optimizers.Adam(0.05, clipnorm=0.5), jit_compile=jit_compile)
        x, y = data()
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=given)
        results.append(state(model))
    assert_same(*results)


def test_nothing_of_it_is_saved_or_stays(tmp_path):
    model = compiled(optimizers.Adam())
    x, y = data()
    kept = {"x": x, "y": y, "batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(**kept)
    before = len(model.optimizer.variables)

    def saved():
        store = {}
        model.optimizer.save_own_variables(store)
        return set(store)

    names, during = saved(), []
    given = [
        UpdateMonitor(),
        keras.callbacks.ModelCheckpoint(tmp_path / "model.keras"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: during.append(saved())),
    ]
    model.fit(**kept, callbacks=given)
    assert during == [names]
    assert model.optimizer.norms is None and len(model.optimizer.variables) == before
    history = model.fit(**kept).history
    assert list(history) == ["loss"]
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.optimizer.variables) == before
    loaded.fit(**kept)
    assert_same(state(model), state(loaded))


def test_a_second_fit_and_a_second_monitor_start_afresh():
    model = linear(optimizers.SGD(0.1))
    _, first = watched(model)
    weights = values(model.trainable_variables)
    watching, second = watched(model)
    close(watching.logs[0], expected(watching.weights[:2], gradient(weights, 0)), weights)
    assert second["gradient_norm"] != first["gradient_norm"]


def test_a_model_that_is_built_by_its_first_batch():
    model = keras.Sequential([keras.layers.Dense(2, name="dense")])
    model.compile(optimizers.SGD(0.1), losses.MeanSquaredError())
    _, history = watched(model, per_layer=True)
    assert history["effective_rate/dense"] == pytest.approx([0.1], rel=1e-4)


# Where the numbers go


def test_csv_logger_and_history_see_it(tmp_path):
    model = linear(optimizers.SGD(0.1))
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    callbacks_given = [UpdateMonitor(per_layer=True), logger]
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=callbacks_given).history
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for name in (*NAMES, *(f"{name}/dense" for name in NAMES)):
        assert [float(row[name]) for row in rows] == history[name] and len(rows) == 3


# What it cannot do is an error


def test_optimizers_that_do_not_measure():
    for optimizer in ("sgd", keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())):
        model = linear(optimizers.SGD())
        model.compile(optimizer, "mse")
        with pytest.raises(ValueError, match="needs an optimizer of keras_optim_losses.*Received"):
            model.fit(X, Y, verbose=0, callbacks=[UpdateMonitor()])


def test_two_monitors_are_an_error():
    model = linear(optimizers.SGD())
    with pytest.raises(RuntimeError, match="one of them.*per_layer=True"):
        model.fit(X, Y, verbose=0, callbacks=[UpdateMonitor(), UpdateMonitor(per_layer=True)])
    # The fit was interrupted; the next one works, and ends the measuring.
    watched(model)
    assert model.optimizer.norms is None


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "week", None])
def test_update_freq_out_of_range_is_named(wrong):
    with pytest.raises(ValueError) as error:
        UpdateMonitor(update_freq=wrong)
    for part in ("`update_freq`", "whole number, 1 or more", repr(wrong)):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="`per_layer` must be True or False"):
        UpdateMonitor(per_layer=1)
