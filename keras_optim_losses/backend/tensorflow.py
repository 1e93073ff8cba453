"""TensorFlow: graphs or eager, one device or a `tf.distribute` strategy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf


def _native(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def key(variable: Any) -> int:
    return id(_native(variable))


@contextlib.contextmanager
def placement(variable: Any) -> Iterator[None]:
    native = _native(variable)
    strategy = getattr(native, "distribute_strategy", None)
    if strategy is None:
        yield None
    else:
        with strategy.extended.colocate_vars_with(native):
            yield None


def dense(gradient: Any) -> tf.Tensor:
    # Of an embedding's IndexedSlices this sums the rows of an id that occurs twice.
    return tf.convert_to_tensor(gradient)


def reduced(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    if replicas() == 1 or tf.distribute.in_cross_replica_context():
        return list(gradients)
    replica = tf.distribute.get_replica_context()
    return list(replica.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)))


def update(
    function: Callable[[list[Any], Sequence[Any]], list[Any]],
    entries: Sequence[tuple[Sequence[Any], Sequence[Any]]],
    elementwise: bool,
) -> None:
    def write(first: Any, others: Sequence[Any], inputs: Sequence[Any]) -> None:
        variables = [first, *others]
        values = function([tf.convert_to_tensor(v) for v in variables], inputs)
        for variable, value in zip(variables, values):
            variable.assign(tf.cast(value, variable.dtype))

    def write_all(strategy: tf.distribute.Strategy, inputs: Sequence[Any]) -> None:
        for (variables, _), given in zip(entries, inputs):
            first, *others = [_native(v) for v in variables]
            strategy.extended.update(first, write, args=(others, given), group=False)

    inputs = [given for _, given in entries]
    if tf.distribute.in_cross_replica_context():
        write_all(tf.distribute.get_strategy(), inputs)
    else:
        # Mirrored variables are written from outside the replicas, once for all of them.
        tf.distribute.get_replica_context().merge_call(write_all, args=(inputs,))


def same_bits(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    return tf.equal(tf.bitcast(one, tf.int16), tf.bitcast(other, tf.int16))


def owned(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return list(tensors)


def of_shape(tensor: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    # XLA drops the assertion, and the graph optimizer the reshape: each needs the other.
    same = tf.debugging.assert_equal(
        tf.shape(tensor), tf.stack(shape), message="`y_true` does not have the shape of `y_pred`."
    )
    with tf.control_dependencies([same] if same is not None else []):
        return tf.reshape(tensor, shape)


def is_eager(tensor: Any) -> bool:
    return tf.executing_eagerly()


def replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
