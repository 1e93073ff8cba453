"""A function's value and gradient on whatever backend runs, and functions compiled there."""

import keras
import numpy as np
from keras import ops


def value_and_gradient(function, x):
    """A scalar function's value at the tensor `x`, and its gradient, as NumPy float64.

    Args:
        function: takes a tensor like `x`, returns a scalar.
        x: a tensor of a float type.
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        gradient = tape.gradient(value, x)
    elif name == "jax":
        import jax

        value, gradient = jax.value_and_grad(function)(x)
    else:
        x = x.detach().clone().requires_grad_()
        value = function(x)
        value.backward()
        gradient = x.grad
    return float(value), ops.convert_to_numpy(ops.cast(gradient, "float64")).astype("float64")


def compilers():
    """Ways to compile a function of tensors on this backend, by name."""
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        return {
            "graph": lambda f: tf.function(f),
            "xla": lambda f: tf.function(f, jit_compile=True),
        }
    if name == "jax":
        import jax

        return {"xla": jax.jit}
    return {}


def float64_is_there():
    """JAX has float64 only where it is told so when it starts."""
    return ops.convert_to_tensor(np.ones(1), dtype="float32").dtype is not None and (
        keras.backend.standardize_dtype(ops.cast(ops.ones(1), "float64").dtype) == "float64"
    )
