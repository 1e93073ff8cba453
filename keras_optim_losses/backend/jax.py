"""JAX: variables are snapshots, and XLA fuses the formula with the training step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
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


def dense(gradient: Any) -> jax.Array:
    return jnp.asarray(gradient)


def reduced(gradients: Sequence[jax.Array]) -> list[jax.Array]:
    return list(gradients)  # the compiler sums over the devices of a `keras.distribution`


def update(
    function: Callable[[list[Any], Sequence[Any]], list[Any]],
    entries: Sequence[tuple[Sequence[Any], Sequence[Any]]],
    elementwise: bool,
) -> None:
    for variables, inputs in entries:
        for variable, value in zip(variables, function([v.value for v in variables], inputs)):
            variable.assign(value)


def same_bits(one: jax.Array, other: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(one, "int16") == jax.lax.bitcast_convert_type(
        other, "int16"
    )


def owned(tensors: Sequence[jax.Array]) -> list[jax.Array]:
    return list(tensors)  # arrays are never overwritten


def of_shape(tensor: jax.Array, shape: Sequence[int]) -> jax.Array:
    return tensor  # shapes are always known, and have been compared


def is_eager(tensor: Any) -> bool:
    return not isinstance(tensor, jax.core.Tracer)


def replicas() -> int:
    return 1
