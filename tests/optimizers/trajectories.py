"""The steps that trajectories take, and how far rounding may lead one off its path."""

import numpy as np

from tests.reference import optimizers as reference

STEPS = 60
RATES = (0.01, 1.0)

CASES = [
    ("GradientDescent", {}, reference.gradient_descent),
    ("GradientDescent", {"batches_per_update": 4}, reference.gradient_descent),
    ("SGD", {}, reference.sgd),
    ("SGD", {"momentum": 0.8}, reference.sgd),
    ("SGD", {"momentum": 0.8, "nesterov": True}, reference.sgd),
    ("Momentum", {}, reference.momentum),
    ("Momentum", {"momentum": 0.7, "nesterov": True}, reference.momentum),
    ("Momentum", {"averaging": True}, reference.momentum),
    ("Momentum", {"averaging": True, "nesterov": True}, reference.momentum),
    ("Adagrad", {}, reference.adagrad),
    ("Adagrad", {"initial_accumulator_value": 2.0, "epsilon": 1e-2}, reference.adagrad),
    ("RMSprop", {}, reference.rmsprop),
    ("RMSprop", {"rho": 0.7, "momentum": 0.6, "epsilon": 1e-2}, reference.rmsprop),
    # Centered, h − ḡ² cancels: an ε well above its rounding keeps the comparison meaningful.
    ("RMSprop", {"centered": True, "epsilon": 1.0}, reference.rmsprop),
    ("RMSprop", {"centered": True, "epsilon": 1.0, "momentum": 0.9}, reference.rmsprop),
    ("Adam", {}, reference.adam),
    ("Adam", {"amsgrad": True, "beta_2": 0.9}, reference.adam),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2}, reference.adam),
    ("Adam", {"epsilon_hat": True}, reference.adam),
    ("Adam", {"epsilon_hat": True, "amsgrad": True, "epsilon": 1e-2}, reference.adam),
    ("Adam", {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 1e-2}, reference.adam),
]


def start():
    """A weight for each scale of gradients; 0, so that no digit of a step is rounded away early."""
    return np.zeros(10)


def gradients():
    """Steps of shape (10,): an entry for each scale from 1e-6 to 1e3, with exact zeros among them.

    They are float32 numbers, so that both sides get the same. Their size changes by a factor of ten
    on the way, back and forth, or the largest v would never be an old one.
    """
    rng = np.random.default_rng(11)
    given = rng.normal(0.3, 1.0, size=(STEPS, 10)) * np.logspace(-6, 3, 10)
    given *= np.where(np.arange(STEPS) % 20 < 10, 1.0, 0.1)[:, None]
    given[rng.random(given.shape) < 0.15] = 0
    return given.astype("float32").astype("float64")


def room(path, dtype):
    """How far rounding may lead off `path`, for each weight.

    A step is some 16 operations, each off by no more than half a unit in the last place of
    what it computes; the steps add up along the path. Relative to the path that is 1e-6 in float32
    and 2e-15 in float64. `path` is (steps, weights).
    """
    unit = {"float32": 2.0**-24, "float64": 2.0**-53}[dtype]
    moved = np.abs(np.diff(path, axis=0, prepend=path[:1] * 0)).sum(axis=0)
    largest = np.abs(path).max(axis=0)
    return 16 * unit * (moved + largest)


def assert_follows(path, expected, dtype):
    path, expected = np.array(path), np.array(expected)
    assert path.shape == expected.shape and np.isfinite(path).all()
    off = np.abs(path - expected).max(axis=0)
    allowed = room(expected, dtype)
    assert (off <= allowed).all(), f"off by {off / allowed} of what rounding allows"
