"""Every optimizer against its specification, over steps that a wrong constant cannot survive."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import optimizers
from keras_optim_losses.backend import Squares, Sum
from keras_optim_losses.optimizers.step import Step
from tests.optimizers.trajectories import CASES, RATES, assert_follows, gradients, start

JAX = keras.backend.backend() == "jax"


def trajectory(optimizer, dtype, given):
    """The weight after each step, all steps through `apply`."""
    weight = keras.Variable(start(), dtype=dtype)
    path = []
    for g in given:
        optimizer.apply([ops.convert_to_tensor(g, dtype=dtype)], [weight])
        path.append(np.array(np.asarray(weight), "float64"))
    return path


def compiled_trajectory(optimizer, dtype, given):
    """The same, each step compiled."""
    weight = keras.Variable(start(), dtype=dtype)
    optimizer.build([weight])
    path = []
    if JAX:
        import jax

        step = jax.jit(optimizer.stateless_apply)
        state, w = [v.value for v in optimizer.variables], weight.value
        for g in given:
            (w,), state = step(state, [ops.convert_to_tensor(g, dtype=dtype)], [w])
            path.append(np.array(w, "float64"))
        return path
    import tensorflow as tf

    step = tf.function(lambda g: optimizer.apply([g], [weight]), jit_compile=True)
    for g in given:
        step(ops.convert_to_tensor(g, dtype=dtype))
        path.append(np.array(np.asarray(weight), "float64"))
    return path


WAYS = [trajectory, *([compiled_trajectory] if keras.backend.backend() != "torch" else [])]
# JAX keeps float64 out unless told otherwise before it starts: tests/backend/test_jax.py does.
DTYPES = ["float32"] if JAX else ["float32", "float64"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, arguments, reference", CASES)
def test_follows_the_specification(name, arguments, reference, dtype, way):
    cls = getattr(optimizers, name)
    given = gradients()
    for rate in RATES:
        expected = reference(start(), given, rate, **arguments)
        assert_follows(way(cls(rate, **arguments), dtype, given), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, arguments, reference", CASES)
def test_follows_a_schedule(name, arguments, reference, dtype):
    """A schedule is a rate that somebody sets before each step."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([20], [0.5, 0.125])
    optimizer = getattr(optimizers, name)(schedule, **arguments)
    changed = getattr(optimizers, name)(0.5, **arguments)
    given = gradients()[:40]
    weight = keras.Variable(start(), dtype=dtype)
    by_hand = keras.Variable(start(), dtype=dtype)
    for step, g in enumerate(given):
        changed.learning_rate = 0.5 if step <= 20 else 0.125
        g = ops.convert_to_tensor(g, dtype=dtype)
        optimizer.apply([g], [weight])
        changed.apply([g], [by_hand])
    np.testing.assert_array_equal(np.asarray(weight), np.asarray(by_hand))
    assert not np.allclose(np.asarray(weight), start())


@pytest.mark.parametrize("name, arguments, reference", CASES)
def test_steps_in_place_say_what_the_rule_says(name, arguments, reference):
    optimizer = getattr(optimizers, name)(0.5, **arguments)
    dtype = "float32" if JAX else "float64"
    t = ops.convert_to_tensor(3.0, dtype=dtype)
    step = Step(0.5, t)
    step = Step(0.5, t, **optimizer.scalars(step))
    program = optimizer.in_place(step)
    if program is None:
        assert name == "RMSprop" and {"momentum", "centered"} & arguments.keys()
        return
    rng = np.random.default_rng(0)
    names = ["weight", "gradient", *optimizer.slots]
    given = {key: rng.uniform(0.5, 2, size=4) for key in names}
    now = dict(given)
    for each in program:
        in_numpy(now, each)
    tensors = [ops.convert_to_tensor(x, dtype=dtype) for x in given.values()]
    result = optimizer.rule(step, *tensors)
    result = result if optimizer.slots else (result,)
    for key, value in zip(["weight", *optimizer.slots], result):
        # JAX has no float64 here; numbers are of the order of 1.
        room = {"rtol": 0, "atol": 16 * 2.0**-24} if JAX else {"rtol": 1e-13}
        np.testing.assert_allclose(now[key], ops.convert_to_numpy(value), **room)


def in_numpy(now, step):
    """A step in place, as the docstring of its class says."""
    if isinstance(step, Sum):
        now[step.target] = step.kept * now[step.target] + step.share * now[step.source]
        return
    g, rate = now[step.gradient], float(step.learning_rate)
    if isinstance(step, Squares):
        now[step.squares] = h = step.kept * now[step.squares] + step.share * g**2
        now[step.weight] = now[step.weight] - rate * g / np.sqrt(h + step.epsilon)
        return
    now[step.momentum] = m = step.beta_1 * now[step.momentum] + (1 - step.beta_1) * g
    now[step.velocity] = v = step.beta_2 * now[step.velocity] + (1 - step.beta_2) * g**2
    if step.largest is not None:
        now[step.largest] = v = np.maximum(now[step.largest], v)
    m, v = (x / (1 - beta ** float(step.t)) for x, beta in ((m, step.beta_1), (v, step.beta_2)))
    now[step.weight] = now[step.weight] - rate * m / (np.sqrt(v) + float(step.epsilon))
