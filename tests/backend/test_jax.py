"""What only JAX has: float64 behind a switch."""

import jax
import pytest

from keras_optim_losses import optimizers
from tests.optimizers.test_trajectories import compiled_trajectory, trajectory
from tests.optimizers.trajectories import CASES, RATES, assert_follows, gradients, start


@pytest.mark.parametrize("way", [trajectory, compiled_trajectory])
@pytest.mark.parametrize("name, arguments, reference", CASES)
def test_follows_the_specification_in_float64(name, arguments, reference, way):
    cls, given = getattr(optimizers, name), gradients()
    with jax.enable_x64(True):
        for rate in RATES:
            expected = reference(start(), given, rate, **arguments)
            assert_follows(
                way(cls(rate, **arguments), "float64", given), expected, "float64", given
            )
