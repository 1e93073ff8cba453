"""Losses on TensorFlow: value and gradient in one pass each, compiled by XLA where that gains."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_optim_losses.backend.labels import marked
from keras_optim_losses.backend.tensorflow import fused, has_xla

# The number of entries from which XLA gains more than a call of it costs. A size that is not known
# when the graph is made, mostly the batch's, counts as so many.
LARGE = 2**14
UNKNOWN = 64

CHAINS = 4  # of additions, side by side


class _Kept(threading.local):
    """What one part of a compiled loss leaves to another.

    outgoing, incoming: what `_logsumexp` computes for the value, taken up again by the gradient.
    tails: of each log(1 + tail) that `log_likelihood` leaves to `total`; None where there is none.
    """

    def __init__(self) -> None:
        self.compiling = False
        self.outgoing: list[tf.Tensor] = []
        self.incoming: list[tf.Tensor] = []
        self.tails: list[tf.Tensor] | None = None

    @contextlib.contextmanager
    def while_compiling(self, incoming: Sequence[tf.Tensor]) -> Iterator[None]:
        self.compiling, self.outgoing, self.incoming = True, [], list(incoming)
        try:
            yield
        finally:
            self.compiling, self.incoming = False, []

    @contextlib.contextmanager
    def in_a_sum(self) -> Iterator[list[tf.Tensor]]:
        tails: list[tf.Tensor] = []
        self.tails = tails
        try:
            yield tails
        finally:
            self.tails = None


_kept = _Kept()


class Fused:
    def __init__(
        self,
        values: Callable[..., tf.Tensor],
        finish: Callable[..., tf.Tensor],
        axis: int | None,
    ) -> None:
        self.values, self.finish = values, finish
        self._compiled: dict[Any, tuple[Callable[..., Any], Callable[..., Any]]] = {}

    def function(
        self,
        labels: tf.Tensor,
        predictions: tf.Tensor,
        weights: tf.Tensor | None,
        mask: tf.Tensor | None,
    ) -> tf.Tensor:
        values = self.values(labels, predictions, weights, mask)
        return self.finish(values, labels, weights, mask)

    def __call__(self, *inputs: tf.Tensor | None) -> tf.Tensor:
        given = [(i, entry) for i, entry in enumerate(inputs) if entry is not None]
        size = math.prod(length or UNKNOWN for length in given[1][1].shape)
        if size < LARGE or not has_xla():
            return self.function(*inputs)
        key = tuple((i, tuple(entry.shape), entry.dtype) for i, entry in given)
        if key not in self._compiled:
            self._compiled[key] = self._compile([i for i, _ in given], len(inputs))
        value, gradient = self._compiled[key]
        floats = [n for n, (_, entry) in enumerate(given) if entry.dtype.is_floating]

        @tf.custom_gradient
        def call(*tensors: tf.Tensor) -> Any:
            results = value(*tensors)

            def backward(*upstream: tf.Tensor) -> list[tf.Tensor | None]:
                # One call for each, so that in a graph those that nobody asks for are left out.
                return [
                    gradient(n, upstream, tensors, results[1:]) if n in floats else None
                    for n in range(len(tensors))
                ]

            return results, backward

        return call(*(entry for _, entry in given))[0]

    def _compile(
        self, given: list[int], count: int
    ) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def function(*tensors: tf.Tensor) -> tf.Tensor:
            inputs: list[tf.Tensor | None] = [None] * count
            for i, tensor in zip(given, tensors):
                inputs[i] = tensor
            return self.function(*inputs)

        def value(*tensors: tf.Tensor) -> list[tf.Tensor]:
            with _kept.while_compiling(()):
                return [function(*tensors), *_kept.outgoing]

        def gradient(
            n: int, upstream: list[tf.Tensor], tensors: list[tf.Tensor], kept: list[tf.Tensor]
        ) -> tf.Tensor:
            with _kept.while_compiling(kept):
                with tf.GradientTape() as tape:
                    tape.watch(tensors[n])
                    again = [function(*tensors), *_kept.outgoing]
                return tape.gradient(again, tensors[n], upstream, unconnected_gradients="zero")

        return fused(value), fused(gradient)


def total(
    terms: Callable[..., tf.Tensor],
    axis: int,
    *tensors: tf.Tensor,
    valid: Callable[[Any], Any] | None = None,
    shift: tf.Tensor | None = None,
) -> tf.Tensor:
    if shift is not None:
        labels, first, *others = tensors
        tensors = (labels, first - shift, *others)
    terms = marked(terms, valid)
    size = tensors[0].shape[axis]
    if not _kept.compiling or not size or size % CHAINS:
        return tf.reduce_sum(terms(*tensors), axis)

    @tf.custom_gradient
    def in_chains(*tensors: tf.Tensor) -> Any:
        # Several sums side by side: in one, each addition would wait for the one before it.
        parts = zip(*(tf.split(tensor, CHAINS, axis) for tensor in tensors))
        with _kept.in_a_sum() as tails:
            sums = sum(terms(*part) for part in parts)
        if tails:
            # One logarithm for all: (1 + a)(1 + b) = 1 + (a + b + ab), and no digit is lost.
            sums -= _log1p(functools.reduce(lambda a, b: a + b + a * b, tails))
        value = tf.reduce_sum(sums, axis)

        def backward(upstream: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                whole = terms(*tensors)
            upstream = tf.broadcast_to(tf.expand_dims(upstream, axis), tf.shape(whole))
            return tape.gradient(whole, tensors, upstream, unconnected_gradients="zero")

        return value, backward

    return in_chains(*tensors)


def log_softmax_parts(x: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    # Bounded in each pass on its own, which costs nothing: bounded before them all it would be
    # written once more.
    return finite(x, x.dtype.max), _logsumexp(x, axis)


def log_softmax(x: tf.Tensor, axis: int, indices: tf.Tensor) -> tf.Tensor:
    own = finite(picked(x, indices, axis), x.dtype.max)
    return own - tf.squeeze(_logsumexp(x, axis), axis)


def _logsumexp(x: tf.Tensor, axis: int) -> tf.Tensor:
    @tf.custom_gradient
    def function(x: tf.Tensor) -> Any:
        if _kept.incoming:
            value = tf.identity(_kept.incoming.pop(0))
        else:
            largest = finite(tf.reduce_max(x, axis, keepdims=True), x.dtype.max)
            shift = tf.broadcast_to(largest, tf.shape(x))
            exponentials = total(
                lambda x, shift: tf.exp(finite(x, x.dtype.max) - shift), axis, x, shift
            )
            value = tf.math.log(tf.expand_dims(exponentials, axis)) + largest
        return value, lambda upstream: upstream * tf.exp(finite(x, x.dtype.max) - value)

    value = function(x)
    if _kept.compiling:
        _kept.outgoing.append(value)
    return value


def extremes(x: tf.Tensor) -> tf.Tensor:
    return x


def bounded(x: tf.Tensor, low: float, high: float) -> tf.Tensor:
    @tf.custom_gradient
    def function(x: tf.Tensor) -> Any:
        return tf.maximum(tf.minimum(x, high), low), lambda upstream: upstream

    return function(x)


def finite(x: tf.Tensor, largest: float) -> tf.Tensor:
    return bounded(x, -largest, largest)


def log_likelihood(y: tf.Tensor, z: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
    yes = y if weight is None else weight * y
    if not _kept.compiling:
        return -yes * tf.math.softplus(-z) - (1 - y) * tf.math.softplus(z)
    # log σ(z) = min(z, 0) − log(1 + e^−|z|), and log σ(−z) has the same logarithm.
    positive = z >= 0
    size = tf.where(positive, z, -z)
    wrong, tail = tf.where(positive, 1 - y, yes) * size, tf.exp(-size)
    if weight is not None:
        return -wrong - (yes + (1 - y)) * _log1p(tail)
    if _kept.tails is None:
        return -wrong - _log1p(tail)
    _kept.tails.append(tail)  # `total` takes off the logarithm
    return -wrong


@tf.custom_gradient
def _log1p(x: tf.Tensor) -> Any:
    # Kahan's way, exact to the last digits and a third faster than that of XLA: the logarithm of
    # the rounded 1 + x, and the derivative times what the rounding has cost.
    rounded = 1 + x
    value = tf.math.log(rounded) + (x - (rounded - 1)) / rounded
    return value, lambda upstream: upstream / (1 + x)


def picked(x: tf.Tensor, indices: tf.Tensor, axis: int) -> tf.Tensor:
    axis %= len(x.shape)

    @tf.custom_gradient
    def lookup(x: tf.Tensor) -> Any:
        def backward(upstream: tf.Tensor) -> tf.Tensor:
            # Compared, which is part of the pass that writes the gradient, and not scattered.
            shape = [1] * len(x.shape)
            shape[axis] = -1
            here = tf.reshape(tf.range(tf.shape(x)[axis]), shape) == tf.expand_dims(indices, axis)
            return tf.where(here, tf.expand_dims(upstream, axis), tf.zeros([], x.dtype))

        rows = keras.ops.moveaxis(x, axis, -1)
        return tf.gather(rows, indices, batch_dims=len(indices.shape)), backward

    return lookup(x)
