"""Losses on JAX: XLA fuses them with the training step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


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


def finite(x: jax.Array, largest: float) -> jax.Array:
    return bounded(x, -largest, largest)


def log_likelihood(y: jax.Array, z: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    yes, no = _log_sigmoids(z)
    return y * (yes if weight is None else weight * yes) + (1 - y) * no


def _log_sigmoids(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Both share what is costly: log σ(x) = min(x, 0) − log(1 + e^−|x|).
    positive = x >= 0
    rest = jnp.log1p(jnp.exp(jnp.where(positive, -x, x)))
    return jnp.where(positive, 0, x) - rest, jnp.where(positive, -x, 0) - rest


def log_softmax(x: jax.Array, axis: int, indices: jax.Array | None = None) -> jax.Array:
    x = finite(x, float(jnp.finfo(x.dtype).max))
    total = _logsumexp(x, axis)
    return x - total if indices is None else picked(x, indices, axis) - jnp.squeeze(total, axis)


def _logsumexp(x: jax.Array, axis: int) -> jax.Array:
    return jax.scipy.special.logsumexp(x, axis=axis, keepdims=True)


def picked(x: jax.Array, indices: jax.Array, axis: int) -> jax.Array:
    # Compared and summed in one pass, where the gradient of a lookup would be a pass of its own.
    axis %= x.ndim
    here = jax.lax.broadcasted_iota("int32", x.shape, axis) == jnp.expand_dims(indices, axis)
    return jnp.sum(jnp.where(here, x, 0), axis=axis)
