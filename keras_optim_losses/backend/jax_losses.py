"""Losses on JAX: XLA fuses them with the training step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from keras_optim_losses.backend.labels import marked


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


def total(
    terms: Callable[..., jax.Array],
    axis: int,
    *tensors: jax.Array,
    valid: Callable[[Any], Any] | None = None,
    shift: jax.Array | None = None,
) -> jax.Array:
    if shift is None:
        return jnp.sum(marked(terms, valid)(*tensors), axis)
    value = _products(terms, valid, axis)(*tensors)
    # Σ c (a − b) = Σ ca − b Σ c: so the gradient of b has no pass of its own.
    labels, first, *others = tensors
    share = jnp.sum(terms(labels, jnp.ones_like(first), *others), axis)
    share = jnp.where(jnp.isnan(value), 0, share)  # no gradient where a label is not valid
    return value - share * jnp.squeeze(shift, axis)


def _products(
    terms: Callable[..., jax.Array], valid: Callable[[Any], Any] | None, axis: int
) -> Callable[..., jax.Array]:
    """The sum of `marked(terms, valid)`, for terms that only multiply.

    It has no choice for each entry in it, with which XLA's sums are slow.
    """
    if valid is None:
        return lambda *tensors: jnp.sum(terms(*tensors), axis)

    @jax.custom_jvp
    def function(labels: jax.Array, *others: jax.Array) -> jax.Array:
        # Valid labels are an interval with 0, which holds all if it holds the extremes.
        extremes = jnp.min(labels, axis, initial=0), jnp.max(labels, axis, initial=0)
        good = valid(extremes[0]) & valid(extremes[1])
        return jnp.where(good, jnp.sum(terms(labels, *others), axis), jnp.nan)

    @function.defjvp
    def _(given: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
        _, slopes = jax.jvp(marked(terms, valid), given, tangents)
        return function(*given), jnp.sum(slopes, axis)

    return function


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


def log_softmax_parts(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    x = finite(x, float(jnp.finfo(x.dtype).max))
    return x, jax.scipy.special.logsumexp(x, axis=axis, keepdims=True)


def log_softmax(x: jax.Array, axis: int, indices: jax.Array) -> jax.Array:
    x, total = log_softmax_parts(x, axis)
    return picked(x, indices, axis) - jnp.squeeze(total, axis)


def picked(x: jax.Array, indices: jax.Array, axis: int) -> jax.Array:
    # Compared and summed in one pass, where the gradient of a lookup would be a pass of its own.
    axis %= x.ndim
    here = jax.lax.broadcasted_iota("int32", x.shape, axis) == jnp.expand_dims(indices, axis)
    return jnp.sum(jnp.where(here, x, 0), axis=axis)
