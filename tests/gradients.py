"""A function's value and gradient, on whatever backend runs."""

import keras
from keras import ops


def value_and_gradient(function, x):
    """A scalar function's value at the tensor `x`, and its gradient, in NumPy float64.

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
        value, gradient = value.detach(), x.grad
    if keras.backend.standardize_dtype(x.dtype) != "float64":
        gradient = ops.cast(gradient, "float32")  # NumPy has no bfloat16
    return float(value), ops.convert_to_numpy(gradient).astype("float64")
