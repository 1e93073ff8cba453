"""How a formula is carried out on each backend. Only this folder imports tensorflow, jax or torch.

`tensorflow.py`, `jax.py` and `torch.py` offer the same functions, and know no algorithm but the
steps of `in_place.py`; what is for losses alone lies in `tensorflow_losses.py` and so on:

- `key(variable)`: what identifies a weight, in every form in which it may be handed over
- `placement(variable)`: a context in which state of the weight is made; gives its layout
- `are_plain(gradients, shapes)`: whether one look tells that `gradient` would give all of them back
  as they are, of these shapes; False where looks cost nothing
- `gradient(given)`: a gradient as it is handled here, a tensor or `Rows`
- `dense(gradient, variable)`: it as a tensor like the weight
- `reduced(gradients, dtypes)`: summed over the replicas of a distribution, and each row once
- `squared_norm(gradient, dtype)`: the sum of its squares, computed in that type
- `all_finite(gradient)`: whether it holds neither inf nor NaN
- `Update(function, elementwise, by_rows, compiled, in_place)`: called with scalars and entries, it
  reads the variables of each entry, computes and writes them back. `function(scalars, values,
  inputs)` gives the new values; an input may be a gradient. With `by_rows` the rows without
  gradient stay as they are. Without `compiled` the function holds code of users that a compiler
  need not understand. `in_place(scalars)` gives the same as steps, which PyTorch takes, and
  TensorFlow where a kernel makes them: `Sum`, `Moments`, `Squares`. The inputs are then a gradient
  and, if there are two, its factor
- `Record(write, read)`: what an attribute of it adds to a `tf.train.Checkpoint`, a text. It is read
  before any variable is restored, so that an error of `read` leaves all of them as they are
- `Fused(values, finish, axis)`: a loss of labels, predictions, weights and mask, of which the last
  two may be None; its value and its gradient are computed in one pass over memory each. `values`
  gives one value a sample, without the axis, and `finish` what becomes of these values, with
  labels, weights and mask. The axis is None where the value of a sample depends on others too
- `total(terms, axis, labels, *tensors, valid, shift)`: the sum along an axis of a function that
  works entry by entry on tensors of one shape; with `valid`, NaN where `valid(label)` is false, and
  no gradient there. With `shift`, which has 1 along the axis, it is subtracted from the tensor
  after the labels, which terms then only multiply, and valid labels are an interval with 0
- `extremes(x)`: the least and the largest entry, NaN if one is; or x, where that is no dearer
- `bounded(x, low, high)`: x held in [low, high], with the gradient of x also where a bound holds
- `finite(x, largest)`: x with ±largest in the place of ±inf, with its gradient there too
- `log_likelihood(y, z, weight)`: weight · y log σ(z) + (1 − y) log σ(−z)
- `log_softmax_parts(x, axis)`: two tensors whose difference is x − log Σ exp x along an axis, where
  ±inf counts as the largest finite number; the second may be None, and else has 1 along the axis
- `log_softmax(x, axis, indices)`: that difference, as `picked` of it
- `picked(x, indices, axis)`: the entry of x with that index along the axis, which is dropped
- `bits(x)`: the bits of a float32 tensor as int32, of a half-precision one as int16. Compilers drop
  a cast to a half type and back, and with it the rounding, unless its bits are looked at
- `from_bits(bits)`: the float32 tensor of such int32 ones
- `number(scalar, dtype)`: a scalar as one computes with it at the least cost, of this type if one
  is given: a tensor, but on PyTorch's CPU, where to start an operation takes long, a number of
  Python's
- `as_tensors(numbers, dtype)`: such numbers, by name, as tensors
- `set_number(variable, number)`: gives a scalar variable such a value
- `owned(tensors)`: tensors that may be overwritten without harm to the caller
- `of_shape(tensor, shape)`: the tensor, or an error at run time where its shape is another
- `is_eager(tensor)`: whether the tensor's values can be looked at now
- `replicas()`: among how many replicas of a distribution the code runs that calls it
- `over_replicas(x)`: the sum over them. A value that is then divided by their number has, on each
  replica, the gradient of the whole by the replica's own part
- `random_state_kept()`: a context that leaves the backend's own random state as it was, where it
  can be had
- `inference(model)`: a context in which a call of the model records no gradient and updates
  nothing that the framework keeps for itself
- `first_batch(model, arguments)`: of the arguments of `model.train_function`, the batch to come;
  the (variable, value) that are handed over with them; and arguments that give it again
"""

from importlib import import_module

import keras

from keras_optim_losses.backend.in_place import InPlace, Moments, Squares, Sum
from keras_optim_losses.backend.rows import Rows

_name = keras.backend.backend()
if _name not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        f"keras_optim_losses runs on Keras' tensorflow, jax and torch backends, not on {_name!r}. "
        f"Set the variable KERAS_BACKEND before importing Keras."
    )
_module = import_module(f"keras_optim_losses.backend.{_name}")
_losses = import_module(f"keras_optim_losses.backend.{_name}_losses")

Fused = _losses.Fused
Record = _module.Record
Update = _module.Update
all_finite = _module.all_finite
are_plain = _module.are_plain
as_tensors = _module.as_tensors
bits = _module.bits
bounded = _losses.bounded
dense = _module.dense
extremes = _losses.extremes
finite = _losses.finite
first_batch = _module.first_batch
from_bits = _module.from_bits
gradient = _module.gradient
inference = _module.inference
is_eager = _module.is_eager
key = _module.key
log_likelihood = _losses.log_likelihood
log_softmax = _losses.log_softmax
log_softmax_parts = _losses.log_softmax_parts
number = _module.number
of_shape = _module.of_shape
over_replicas = _module.over_replicas
owned = _module.owned
picked = _losses.picked
placement = _module.placement
random_state_kept = _module.random_state_kept
reduced = _module.reduced
replicas = _module.replicas
set_number = _module.set_number
squared_norm = _module.squared_norm
total = _losses.total

__all__ = [
    "Fused",
    "InPlace",
    "Moments",
    "Record",
    "Rows",
    "Squares",
    "Sum",
    "Update",
    "all_finite",
    "are_plain",
    "as_tensors",
    "bits",
    "bounded",
    "dense",
    "extremes",
    "finite",
    "first_batch",
    "from_bits",
    "gradient",
    "inference",
    "is_eager",
    "key",
    "log_likelihood",
    "log_softmax",
    "log_softmax_parts",
    "number",
    "of_shape",
    "over_replicas",
    "owned",
    "picked",
    "placement",
    "random_state_kept",
    "reduced",
    "replicas",
    "set_number",
    "squared_norm",
    "total",
]
