"""Weights of a half type: a float32 copy, or rounding at random."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import optimizers
from keras_optim_losses.optimizers.rounding import mixed, rounded
from tests.models import assert_same, compiled, train, values
from tests.test_contract import every_optimizer, own_arguments

HALF = ("bfloat16", "float16")
#: The number of bits of the fraction.
DIGITS = {"bfloat16": 7, "float16": 10}


def numbers(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32")).astype("float64")


def salts(count):
    return [mixed(ops.convert_to_tensor(np.int32(i))) for i in range(count)]


def half_weight(value, dtype):
    return keras.Variable(np.asarray(value, "float32"), dtype=dtype)


@pytest.mark.parametrize("shared", [{}, {"stochastic_rounding": True}])
@pytest.mark.parametrize("dtype", HALF)
def test_steps_below_half_a_unit_add_up(dtype, shared):
    """From 1.0 by steps of 1e-4: a bfloat16 below 1 is 2⁻⁸ = 0.0039 from the next."""
    weight = half_weight(np.ones(500), dtype)
    start = numbers(weight)
    optimizer = optimizers.SGD(1e-4, **shared)
    gradient = ops.ones((500,), dtype)
    for _ in range(200):
        optimizer.apply([gradient], [weight])
    moved = start - numbers(weight)
    spacing = 2.0 ** -(DIGITS[dtype] + 1)
    if not shared:
        np.testing.assert_allclose(moved, 0.02, atol=spacing)
    else:
        # A step of 1e-4 is taken as a whole spacing with the probability q, by each entry for
        # itself, 200 times: five standard deviations of the mean of 500, and of one.
        q = 1e-4 / spacing
        deviation = spacing * np.sqrt(200 * q * (1 - q))
        assert abs(moved.mean() - 0.02) < 5 * deviation / np.sqrt(500)
        assert abs(moved - 0.02).max() < 5 * deviation
        assert moved.std() > deviation / 2


@pytest.mark.parametrize("dtype", HALF)
def test_rounding_to_the_nearest_alone_loses_them(dtype):
    """What the two ways are for."""
    weight = half_weight(1.0, dtype)
    for _ in range(200):
        weight.assign(weight - ops.cast(1e-5, dtype))
    assert float(numbers(weight)) == 1.0


@pytest.mark.parametrize("dtype", HALF)
def test_the_mean_of_what_is_rounded_is_the_number(dtype):
    """Over 40 places and 50 salts, within five standard deviations for each of the numbers."""
    digits = DIGITS[dtype]
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=60), rng.normal(size=20) * 1e3, rng.normal(size=20) * 1e-6])
    x = x.astype("float32")
    places = ops.convert_to_tensor(np.tile(x, (40, 1)))
    found = np.concatenate([numbers(rounded(places, dtype, salt)) for salt in salts(50)])
    smallest = 2.0 ** (-14 if dtype == "float16" else -126)
    power = np.maximum(2.0 ** np.floor(np.log2(np.abs(x.astype("float64")))), smallest)
    spacing = power * 2.0**-digits
    low = np.floor(x / spacing) * spacing
    assert np.isin((found - low) / spacing, (0, 1)).all()
    share = (x - low) / spacing
    deviation = spacing * np.sqrt(np.maximum(share * (1 - share), 1 / 2000) / 2000)
    np.testing.assert_array_less(np.abs(found.mean(0) - x), 5 * deviation)


@pytest.mark.parametrize("dtype", HALF)
def test_numbers_of_the_type_and_what_is_no_number_stay(dtype):
    x = np.array([0, 1, -1, 0.5, -(2.0**-14), 255, np.inf, -np.inf, np.nan], "float32")
    for salt in salts(50):
        np.testing.assert_array_equal(numbers(rounded(ops.convert_to_tensor(x), dtype, salt)), x)


def test_mixed_is_the_published_function():
    """lowbias32 of Wellons, "Prospecting for Hash Functions", in unbounded whole numbers."""

    def lowbias32(x):
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    x = np.random.default_rng(0).integers(0, 2**32, 100, dtype="uint64")
    expected = [lowbias32(int(i)) for i in x]
    found = mixed(ops.convert_to_tensor(x.astype("uint32").view("int32")))
    np.testing.assert_array_equal(ops.convert_to_numpy(found).view("uint32"), expected)


@every_optimizer
def test_random_rounding_needs_no_copy_and_resumes_exactly(cls, tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    model = compiled(cls(**own_arguments(cls), stochastic_rounding=True))
    train(model)
    assert not any("float32_copy" in v.path for v in model.optimizer.variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.stochastic_rounding is True
    train(model)
    train(loaded)
    assert_same(values(model.weights), values(loaded.weights))
