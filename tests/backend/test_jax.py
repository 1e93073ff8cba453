"""What only JAX has: float64 behind a switch, and jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keras_optim_losses import losses, optimizers
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


@pytest.mark.parametrize("wrong", [-1.0, np.inf, np.nan])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("cls", [losses.BinaryCrossentropy, losses.CategoricalCrossentropy])
def test_a_label_out_of_range_has_no_gradient(cls, from_logits, wrong):
    """Nor does it keep other samples from theirs."""
    loss = cls(from_logits, reduction="none", label_smoothing=0.1)
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, (2, 3)).astype("float32")
    y = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], "float32")

    def gradient(y):
        values, backward = jax.vjp(jax.jit(lambda p: loss(y, p)), p)
        return values, backward(np.ones(2, "float32"))[0]

    good, expected = gradient(y)
    y[0, 1] = wrong
    values, found = gradient(y)
    assert np.isnan(values[0]) and values[1] == good[1]
    assert found[0, 1] == 0 and np.isfinite(found).all()
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("from_logits", [False, True])
def test_second_derivatives_of_categorical_crossentropy(from_logits):
    """By the formula, whose sums have derivatives of their own here."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, (2, 4)).astype("float32")
    y = rng.uniform(0, 1, (2, 4)).astype("float32")
    loss = losses.CategoricalCrossentropy(from_logits, reduction="sum")

    def formula(p):
        log_p = jax.nn.log_softmax(p) if from_logits else jnp.log(p / p.sum(-1, keepdims=True))
        return -(y * log_p).sum()

    for derivative in (jax.grad, jax.hessian):
        found, expected = (derivative(f)(p) for f in (lambda p: loss(y, p), formula))
        # A sum of a few terms that may cancel.
        bound = 8 * 2.0**-23 * float(np.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
