"""JAX: variables are snapshots, and XLA fuses the formula with the training step."""

from __future__ import annotations

import contextlib
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


def are_plain(gradients: Sequence[Any], shapes: list[tuple[int, ...]]) -> bool:
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


def bits(x: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(x, "int32" if x.dtype == "float32" else "int16")


def from_bits(bits: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, "float32")


def number(scalar: Any, dtype: str | None = None) -> jax.Array:
    return keras.ops.convert_to_tensor(scalar, dtype)


def as_tensors(numbers: Mapping[str, Any], dtype: str) -> Mapping[str, Any]:
    return numbers


def set_number(variable: keras.Variable, number: jax.Array) -> None:
    variable.assign(number)


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
