"""TensorFlow's kernels make the steps that the specification says, and those of a rule alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import optimizers
from keras_optim_losses.backend import tensorflow as backend
from tests.backend.replicas import mirrored
from tests.models import values
from tests.optimizers.trajectories import CASES, RATES, assert_follows, gradients, start


@pytest.fixture
def used(monkeypatch):
    """The kernels that have been called."""
    calls = []

    def watched(*given):
        kernel = kernel_for(*given)
        if kernel is None:
            return None
        name = kernel.call.__name__
        return kernel._replace(call=lambda *a: calls.append(name) or kernel.call(*a))

    kernel_for = backend.kernel_for
    monkeypatch.setattr(backend, "kernel_for", watched)
    return calls


def expected_kernel(name, arguments):
    if name == "SGD" or name == "Momentum":
        momentum = arguments.get("momentum", 0 if name == "SGD" else 0.9)
        if arguments.get("averaging"):
            return set()
        return {"_velocity"} if momentum else {"_descent"}
    return {"_descent"} if (name, arguments) == ("GradientDescent", {}) else set()


# Compiled, a rule is under `test_trajectories.py`; here are the kernels.
WAYS = [
    (*case, compiled)
    for case in CASES
    for compiled in (False, True)
    if expected_kernel(*case[:2]) or not compiled
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, arguments, reference, compiled", WAYS)
def test_follows_the_specification(name, arguments, reference, compiled, dtype, used):
    given = gradients()
    for rate in RATES:
        optimizer = getattr(optimizers, name)(rate, **arguments)
        weight = keras.Variable(start(), dtype=dtype)
        optimizer.build([weight])
        step = tf.function(lambda g, apply=optimizer.apply: apply([g]), jit_compile=compiled)
        path = []
        for gradient in given:
            step(tf.constant(gradient, dtype))
            path.append(np.asarray(weight).astype("float64"))
        assert_follows(path, reference(start(), given, rate, **arguments), dtype)
    assert set(used) == expected_kernel(name, arguments)


class Twice(optimizers.SGD):
    def rule(self, step, weight, gradient):
        return weight - 2 * step.learning_rate * gradient


@pytest.mark.parametrize(
    "optimizer",
    [
        Twice(),
        optimizers.SGD(weight_decay=0.1),
        optimizers.Momentum(clipnorm=1.0),
        optimizers.SGD(use_ema=True),
        optimizers.SGD(gradient_accumulation_steps=2),
        optimizers.Momentum(skip_nonfinite=True),
        optimizers.Adam(),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_what_no_kernel_makes_is_left_to_the_rule(optimizer, used):
    weight = keras.Variable(np.ones(3, "float32"))
    for _ in range(2):
        optimizer.apply([tf.ones(3)], [weight])
    assert not used


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_gradients_and_weights_of_half_precision(policy, used):
    keras.config.set_dtype_policy(policy)
    weight = keras.layers.Dense(2).add_weight(shape=(3,), initializer="ones")
    optimizers.SGD(0.5).apply([tf.ones(3, "bfloat16")], [weight])
    np.testing.assert_array_equal(values([weight])[0], 0.5)
    assert used == ([] if policy == "bfloat16" else ["_descent"])  # the copy needs the rule


@pytest.mark.parametrize("name", ["SGD", "Momentum"])
def test_replicas_write_their_copies(name, used):
    with mirrored().scope():
        weight = keras.Variable(np.ones(3, "float32"))
        optimizer = getattr(optimizers, name)(0.1)
        optimizer.build([weight])
    step = tf.function(lambda g: mirrored().run(lambda: optimizer.apply([g / 2], [weight])))
    other = keras.Variable(np.ones(3, "float32"))
    alone = getattr(optimizers, name)(0.1)
    for number in range(3):
        gradient = tf.constant([1.0, -2.0, 0.0]) * (number + 1)
        step(gradient)
        alone.apply([gradient], [other])
    for copy in mirrored().experimental_local_results(weight.value):
        np.testing.assert_allclose(copy, values([other])[0], rtol=1e-6)
    assert len(set(used)) == 1 and len(used) > 3
