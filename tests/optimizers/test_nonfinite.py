"""Gradients that are inf or NaN: let through, or left out and counted."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import optimizers
from tests.models import assert_same, compiled, data, train, values
from tests.test_contract import OPTIMIZERS, every_optimizer, own_arguments

SHAPES = ((3, 2), (4,))


def weights(dtype="float32"):
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.normal(size=shape).astype("float32"), dtype=dtype) for shape in SHAPES
    ]


def good(seed, dtype="float32"):
    rng = np.random.default_rng(seed)
    return [ops.cast(rng.normal(size=shape).astype("float32"), dtype) for shape in SHAPES]


def spoilt(seed, bad, dtype="float32"):
    """One entry of the second weight's gradient is bad."""
    first, second = good(seed, dtype)
    second = ops.convert_to_numpy(ops.cast(second, "float32")).copy()
    second[1] = bad
    return [first, ops.cast(second, dtype)]


def state(optimizer):
    """All state but the counts."""
    counts = {id(optimizer._calls), id(optimizer.skipped_updates)}
    return values([v for v in optimizer.variables if id(v) not in counts])


# GradientDescent accumulates by itself: the test after this one.
@pytest.mark.parametrize("cls", [c for c in OPTIMIZERS if c is not optimizers.GradientDescent])
@pytest.mark.parametrize(
    "shared",
    [{}, {"use_ema": True, "ema_momentum": 0.5, "clipnorm": 1.0, "ema_overwrite_frequency": 2}],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_skipped_has_not_been(cls, shared, dtype):
    """Weights, state and t are those of the good gradients alone, bit for bit."""
    results = []
    bad = [spoilt(2, value, dtype) for value in (np.nan, np.inf, -np.inf)]
    for between in (bad, []):
        steps = [good(1, dtype), *between, good(3, dtype)]
        optimizer = cls(**own_arguments(cls), **shared, weight_decay=0.1, skip_nonfinite=True)
        variables = weights(dtype)
        for gradients in steps:
            optimizer.apply(gradients, variables)
        results.append([*values(variables), *state(optimizer)])
        assert int(ops.convert_to_numpy(optimizer.skipped_updates)) == len(steps) - 2
    assert_same(*results)
    assert all(np.isfinite(value).all() for value in results[0])


@every_optimizer
def test_a_cycle_with_a_bad_gradient_is_skipped_as_a_whole(cls):
    results = []
    for cycles in ([(1, 2), (None, 3), (4, 5)], [(1, 2), (4, 5)]):
        optimizer = cls(**own_arguments(cls), gradient_accumulation_steps=2, skip_nonfinite=True)
        variables = weights()
        for seed in sum(cycles, ()):
            gradients = spoilt(9, np.nan) if seed is None else good(seed)
            optimizer.apply(gradients, variables)
        results.append([*values(variables), *state(optimizer)])
        assert int(ops.convert_to_numpy(optimizer.skipped_updates)) == len(cycles) - 2
    assert_same(*results)


def test_without_it_the_weights_are_lost():
    variables = weights()
    optimizer = optimizers.SGD()
    optimizer.apply(spoilt(1, np.nan), variables)
    assert np.isnan(values(variables)[1]).any()
    assert optimizer.skipped_updates == 0


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_callback_reads_the_count_and_a_file_keeps_it(run_eagerly, tmp_path):
    x, y = data()
    x[8] = np.nan  # in the second of four batches
    model = compiled(optimizers.Adam(skip_nonfinite=True), run_eagerly=run_eagerly)
    seen = []

    class Reader(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(int(ops.convert_to_numpy(self.model.optimizer.skipped_updates)))

    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[Reader()])
    assert seen == [1, 2]
    assert all(np.isfinite(value).all() for value in values(model.weights))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(ops.convert_to_numpy(loaded.optimizer.skipped_updates)) == 2
    train(model)
    train(loaded)
    assert_same(values(model.weights), values(loaded.weights))


def apply(optimizer, gradients, variables):
    """`apply`; on JAX in the only form in which Keras' LossScaleOptimizer has it."""
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, variables)
        return
    given = [v.value for v in optimizer.variables], gradients, [v.value for v in variables]
    new, new_state = optimizer.stateless_apply(*given)
    for variable, value in zip([*variables, *optimizer.variables], [*new, *new_state]):
        variable.assign(value)


def test_loss_scaling_skips_infinities_and_loses_no_state():
    results = []
    for steps in ([good(1), spoilt(2, np.inf), good(3)], [good(1), good(3)]):
        inner = optimizers.Adam(0.1)
        scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
        variables = weights()
        scaled.build(variables)
        for gradients in steps:
            scale = float(ops.convert_to_numpy(scaled.dynamic_scale))  # halved by the bad step
            apply(scaled, [gradient * scale for gradient in gradients], variables)
        results.append([*values(variables), *values(inner.variables)])
    assert_same(*results)
