"""What only JAX has: float64 behind a switch, and jit."""

import jax
import numpy as np
import pytest

from keras_optim_losses import optimizers
from tests.losses.test_pitfalls import BAD
from tests.optimizers.test_trajectories import compiled_trajectory, trajectory
from tests.optimizers.trajectories import CASES, RATES, assert_follows, gradients, start


@pytest.mark.parametrize("way", [trajectory, compiled_trajectory])
@pytest.mark.parametrize("name, arguments, reference", CASES)
def test_follows_the_specification_in_float64(name, arguments, reference, way):
    cls, given = getattr(optimizers, name), gradients()
    with jax.enable_x64(True):
        for rate in RATES:
            expected = reference(start(), given, rate, **arguments)
            assert_follows(way(cls(rate, **arguments), "float64", given), expected, "float64")


@pytest.mark.parametrize("loss, y, message", BAD)
def test_labels_out_of_range_are_nan_when_compiled(loss, y, message):
    y = y.astype("float32") if y.dtype == "float64" else y
    value = jax.jit(lambda y, p: loss(y, p))(y, np.full((2, 3), 1 / 3, "float32"))
    assert np.isnan(float(value)), message
