"""How a formula is carried out on each backend. Only this folder imports tensorflow, jax or torch.

Every module here offers the same functions, and knows no algorithm:

- `key(variable)`: what identifies a weight, in every form in which it may be handed over
- `placement(variable)`: a context in which state of the weight is made; gives its layout
- `dense(gradient)`: a gradient as a plain tensor
- `reduced(gradients)`: the gradients summed over the replicas of a distribution
- `update(function, entries, elementwise)`: read variables, compute, write them back
- `same_bits(one, other)`: where two half-precision tensors are equal. Compilers drop a cast to a
  half type and back, and with it the rounding, unless its bits are looked at
- `owned(tensors)`: tensors that may be overwritten without harm to the caller
- `of_shape(tensor, shape)`: the tensor, or an error at run time where its shape is another
- `is_eager(tensor)`: whether the tensor's values can be looked at now
- `replicas()`: over how many replicas a mean loss is summed
"""

import keras

if keras.backend.backend() == "tensorflow":
    from keras_optim_losses.backend.tensorflow import (
        dense,
        is_eager,
        key,
        of_shape,
        owned,
        placement,
        reduced,
        replicas,
        same_bits,
        update,
    )
elif keras.backend.backend() == "jax":
    from keras_optim_losses.backend.jax import (
        dense,
        is_eager,
        key,
        of_shape,
        owned,
        placement,
        reduced,
        replicas,
        same_bits,
        update,
    )
elif keras.backend.backend() == "torch":
    from keras_optim_losses.backend.torch import (
        dense,
        is_eager,
        key,
        of_shape,
        owned,
        placement,
        reduced,
        replicas,
        same_bits,
        update,
    )
else:
    raise ImportError(
        f"keras_optim_losses runs on Keras' tensorflow, jax and torch backends, not on "
        f"{keras.backend.backend()!r}. Set the variable KERAS_BACKEND before importing Keras."
    )

__all__ = [
    "dense",
    "is_eager",
    "key",
    "of_shape",
    "owned",
    "placement",
    "reduced",
    "replicas",
    "same_bits",
    "update",
]
