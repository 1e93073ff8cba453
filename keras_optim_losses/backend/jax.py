"""JAX: variables are snapshots, and XLA fuses the formula with the training step."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras


def key(variable: Any) -> int:
    return id(variable)


@contextlib.contextmanager
def placement(variable: Any) -> Iterator[Any]:
    # Keras finds a layout by a variable's name, which state does not share with its weight.
    distributed = keras.distribution.distribution() is not None
    yield variable.value.sharding if distributed else None


def is_plain(gradient: Any, shape: Sequence[Any]) -> bool:
    return False  # a step is traced once


def gradient(given: Any) -> jax.Array:
    return jnp.asarray(given)


def dense(gradient: jax.Array, variable: Any) -> jax.Array:
    return gradient  # as all are


def reduced(gradients: Sequence[jax.Array], dtypes: Sequence[str]) -> list[jax.Array]:
    return list(gradients)  # the compiler sums over the devices of a `keras.distribution`


def squared_norm(gradient: jax.Array, dtype: str) -> jax.Array:
    return jnp.sum(jnp.square(gradient.astype(dtype)))


def all_finite(gradient: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(gradient))


class Update:
    def __init__(
        self,
        function: Callable[[Mapping[str, Any], list[Any], Sequence[Any]], list[Any]],
        elementwise: bool = True,
        by_rows: bool = False,
        compiled: bool = True,
        in_place: Any = None,
    ) -> None:
        self.function = function

    def __call__(
        self, scalars: Mapping[str, Any], entries: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    ) -> None:
        for variables, inputs in entries:
            values = self.function(scalars, [v.value for v in variables], inputs)
            for variable, value in zip(variables, values):
                variable.assign(value)


class Record:
    def __init__(self, write: Callable[[], str], read: Callable[[str], None]) -> None:
        pass  # only TensorFlow has checkpoints of its own


class Fused:
    def __init__(
        self,
        values: Callable[..., jax.Array],
        finish: Callable[..., jax.Array],
        axis: int | None,
    ) -> None:
        self.values, self.finish = values, finish

    def __call__(
        self,
        labels: jax.Array,
        predictions: jax.Array,
        weights: jax.Array | None,
        mask: jax.Array | None,
    ) -> jax.Array:
        # XLA fuses it with the step.
        values = self.values(labels, predictions, weights, mask)
        return self.finish(values, labels, weights, mask)


def extremes(x: jax.Array) -> jax.Array:
    return x


def total(terms: Callable[..., jax.Array], axis: int, *tensors: jax.Array) -> jax.Array:
    return jnp.sum(terms(*tensors), axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def bounded(x: jax.Array, low: float, high: float) -> jax.Array:
    return jnp.clip(x, low, high)


@bounded.defjvp
def _(low: float, high: float, given: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return bounded(*given, low, high), tangents[0]


def log_likelihood(y: jax.Array, z: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    yes, no = _log_sigmoids(z)
    return y * (yes if weight is None else weight * yes) + (1 - y) * no


def _log_sigmoids(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Both share what is costly: log σ(x) = min(x, 0) − log(1 + e^−|x|).
    positive = x >= 0
    rest = jnp.log1p(jnp.exp(jnp.where(positive, -x, x)))
    return jnp.where(positive, 0, x) - rest, jnp.where(positive, -x, 0) - rest


def log_softmax(x: jax.Array, axis: int, indices: jax.Array | None = None) -> jax.Array:
    x = bounded(x, float(jnp.finfo(x.dtype).min), float(jnp.finfo(x.dtype).max))
    total = _logsumexp(x, axis)
    return x - total if indices is None else picked(x, indices, axis) - jnp.squeeze(total, axis)


def _logsumexp(x: jax.Array, axis: int) -> jax.Array:
    return jax.scipy.special.logsumexp(x, axis=axis, keepdims=True)


def picked(x: jax.Array, indices: jax.Array, axis: int) -> jax.Array:
    # Compared and summed in one pass, where the gradient of a lookup would be a pass of its own.
    axis %= x.ndim
    here = jax.lax.broadcasted_iota("int32", x.shape, axis) == jnp.expand_dims(indices, axis)
    return jnp.sum(jnp.where(here, x, 0), axis=axis)


def bits(x: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(x, "int32" if x.dtype == "float32" else "int16")


def from_bits(bits: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, "float32")


def owned(tensors: Sequence[jax.Array]) -> list[jax.Array]:
    return list(tensors)  # arrays are never overwritten


def of_shape(tensor: jax.Array, shape: Sequence[int]) -> jax.Array:
    return tensor  # shapes are always known, and have been compared


def is_eager(tensor: Any) -> bool:
    return not isinstance(tensor, jax.core.Tracer)


def replicas() -> int:
    return 1


def over_replicas(x: jax.Array) -> jax.Array:
    return x


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()  # there is none


def inference(model: Any) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def first_batch(model: Any, arguments: tuple[Any, ...]) -> tuple[Any, list[Any], tuple[Any, ...]]:
    state, iterator = arguments
    batch = next(iterator)
    # In training the variables are empty, and their values travel with the step.
    variables = [
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables if model.optimizer is not None else [],
        model.metrics_variables,
    ]
    values = [pair for group, given in zip(variables, state) for pair in zip(group, given)]
    return batch, values, (state, itertools.chain([batch], iterator))
