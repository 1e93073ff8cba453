"""A million updates stay with the specification, and the count of calls may come to its end."""

import inspect
import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import optimizers
from keras_optim_losses.optimizers.optimizer import LAST_CALL
from tests.models import values
from tests.optimizers.trajectories import CASES
from tests.reference import optimizers as reference

BACKEND = keras.backend.backend()
EVERY = [
    cls
    for cls in (getattr(optimizers, name) for name in optimizers.__all__)
    if inspect.isclass(cls) and cls is not optimizers.Optimizer
]

# A million updates

# PyTorch has no loop in a compiled function, and a million steps of Python's would take minutes.
STEPS = 10_000 if BACKEND == "torch" else 1_000_000
# Powers of two, which no product rounds. What an update has rounded decays with the weight: after
# 1/ηλ = 1024 updates it is forgotten.
RATE, DECAY = 2.0**-7, 2.0**-3
UNIT = 2.0**-24


def gradients():
    """Whatever the weight is, so that both sides get the same: from −1 to 2, with mean 0.5."""
    return np.random.default_rng(8).uniform(-1, 2, STEPS).astype("float32")


def in_one_function(optimizer, weight, given):
    """All updates, on TensorFlow and JAX in one compiled function."""
    optimizer.build([weight])
    given = ops.convert_to_tensor(given)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def body(i):
            optimizer.apply([given[i]], [weight])
            return i + 1

        loop = tf.function(
            lambda: tf.while_loop(lambda i: i < STEPS, body, [tf.constant(0)]), jit_compile=True
        )
        loop()
    elif BACKEND == "jax":
        import jax

        def body(i, carry):
            (weight,), state = optimizer.stateless_apply(carry[1], [given[i]], [carry[0]])
            return weight, state

        loop = jax.jit(lambda *carry: jax.lax.fori_loop(0, STEPS, body, carry))
        value, state = loop(weight.value, [v.value for v in optimizer.variables])
        for variable, new in zip([weight, *optimizer.variables], [value, *state]):
            variable.assign(new)
    else:
        for gradient in given:
            optimizer.apply([gradient], [weight])


def relative_error(optimizer, t):
    """By how many units of 2⁻²⁴ a step may be off, of what it is.

    An average that keeps a share β of itself is off by 4 units an update (β, 1 − β, and two
    operations), which it forgets in 1/(1 − β) updates; half of it stays under the root of second
    moments. AdaGrad's sum forgets nothing: half a unit an update stays under the root. All else
    are single operations, of which no step has more than 16.
    """
    if isinstance(optimizer, optimizers.Adagrad):
        return t / 2 + 16
    shares = ("momentum", "rho", "beta_1", "beta_2")
    largest = max(getattr(optimizer, share, 0.0) for share in shares)
    return 2 / (1 - largest) + 16


def specified(optimizer, path):
    """The weight of the specification with decay, and how far rounding may lead off it, at the end.

    The specification knows no decay. As the gradients do not depend on the weight, its steps s are
    the same with it: w ← (1 − ηλ)w + s. An update rounds the weight twice, and its step; of the
    largest of the last 64 steps, for one that passes 0 is not more exact than its neighbours.
    """
    steps = np.diff(np.array(path), prepend=0.0)
    kept = 1 - RATE * DECAY
    updates = steps != 0  # accumulating optimizers decay with an update
    ways = itertools.accumulate(
        zip(steps, updates), lambda w, s: kept * w + s[0] if s[1] else w, initial=0.0
    )
    weights = np.array(list(ways))[1:]
    largest = np.abs(steps)
    for shift in (1, 2, 4, 8, 16, 32):
        largest[shift:] = np.maximum(largest[shift:], largest[:-shift])
    rounded = 2 * np.abs(weights) + largest
    rounded += relative_error(optimizer, np.arange(1, STEPS + 1)) * largest
    room = 0.0
    for error, updated in zip(rounded, updates):
        room = kept * room + UNIT * error if updated else room
    return weights[-1], room


# With its defaults each, but for gradient descent, which is SGD then.
CASE = {name: (arguments, function) for name, arguments, function in reversed(CASES)}
CASE["GradientDescent"] = ({"batches_per_update": 4}, reference.gradient_descent)


@pytest.mark.parametrize("cls", EVERY)
def test_a_million_updates_stay_with_the_specification(cls):
    arguments, specification = CASE[cls.__name__]
    optimizer = cls(RATE, weight_decay=DECAY, **arguments)
    weight = keras.Variable(np.zeros(()), dtype="float32")
    given = gradients()
    in_one_function(optimizer, weight, given)
    calls = int(ops.convert_to_numpy(optimizer.iterations)) * arguments.get("batches_per_update", 1)
    assert calls == STEPS
    path = specification(0.0, given.astype("float64"), RATE, **arguments)
    expected, room = specified(optimizer, path)
    assert abs(values([weight])[0] - expected) <= room
    # A bound that says something: a step is not lost among a thousand.
    assert room < (0.2 if cls is optimizers.Adagrad else 2e-3) * abs(expected)


# The end of the count


def at(count, optimizer, weight, start=0.0, **state):
    """The optimizer as if it had been called so often, and a weight that starts anew."""
    optimizer.build([weight])
    weight.assign(np.full(weight.shape, start))
    saved = {}
    optimizer.save_own_variables(saved)
    optimizer.load_own_variables({**saved, **state, "iteration": np.array(count)})
    return optimizer


def path_from(optimizer, weight, calls):
    path = []
    for _ in range(calls):
        optimizer.apply([ops.ones((1,))], [weight])
        path.append(float(values([weight])[0][0]))
    return path


@pytest.mark.parametrize("cls", EVERY)
def test_beyond_the_count_all_goes_on(cls):
    paths = []
    for count in (10_000_000, LAST_CALL - 3):
        weight = keras.Variable(np.zeros(1), dtype="float32")
        optimizer = at(count, cls(0.1, use_ema=True), weight)
        paths.append(path_from(optimizer, weight, 10))
        assert np.isfinite(np.concatenate([np.ravel(v) for v in values(optimizer.variables)])).all()
    assert paths[0] == paths[1]
    assert 0 <= LAST_CALL - int(ops.convert_to_numpy(optimizer.iterations)) < 2**16


def test_rounding_stays_random_beyond_the_count():
    weight = keras.Variable(np.ones(100), dtype="bfloat16")
    optimizer = optimizers.SGD(1e-4, stochastic_rounding=True)
    at(LAST_CALL - 3, optimizer, weight, start=1.0)
    for _ in range(400):
        optimizer.apply([ops.ones((100,), dtype="bfloat16")], [weight])
    # A step is 1/39 of the spacing of numbers below 1, so that each entry has moved about 10 times;
    # were all draws the same, 97 of 100 entries would never.
    assert (values([weight])[0] < 1).all()


# Counts, the first of which are the last that a float32 tells from their neighbours.
COUNTS = [2**24 - 2, 2**24 - 1, 2**25 + 1, *range(LAST_CALL - 7, LAST_CALL + 1)]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("overwritten", [1, 2, 3])
def test_cycles_stay_in_time_beyond_the_count(every, overwritten):
    weight = keras.Variable(np.zeros(1), dtype="float32")
    optimizer = optimizers.SGD(
        1.0,
        gradient_accumulation_steps=every,
        use_ema=True,
        ema_momentum=1.0,  # an average that stays what it is: 100
        ema_overwrite_frequency=overwritten,
    )
    state = {"0.average": np.array([100.0])}
    if every > 1:
        state["0.gradient_accumulator"] = np.zeros(1)
    for count in COUNTS:
        at(count, optimizer, weight, **state)
        now, expected = 0.0, []
        waiting = count % every  # whose gradients are 0
        for call in range(count + 1, count + 14):
            waiting += 1
            if call % every == 0:
                now -= min(waiting, call - count) / every
                waiting = 0
                if call // every % overwritten == 0:
                    now = 100.0
            expected.append(now)
        np.testing.assert_allclose(path_from(optimizer, weight, 13), expected, rtol=1e-6)


def test_flushing_at_the_end_of_the_count():
    weight = keras.Variable(np.zeros(1), dtype="float32")
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=3)
    for count in range(LAST_CALL - 5, LAST_CALL + 1):
        at(count, optimizer, weight)
        optimizer.flush_accumulated_gradients()
        assert path_from(optimizer, weight, 6) == [0.0, 0, -1, -1, -1, -2]
