"""TensorFlow: graphs or eager, one device or a `tf.distribute` strategy.

What happens to a gradient: `gradient` takes it as it comes, `reduced` sums it over the replicas and
an embedding's over ids that occur twice, and `Update` reads, computes and writes a weight and its
state in one pass over memory, compiled by XLA also where the model is not.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_optim_losses.backend.rows import Rows

# Weights of up to this many entries share calls of XLA: below it, a call costs more than its work.
# More than this many in a call, and XLA's CPU runtime goes over to a slower way of running them.
SMALL = 2**15
TOGETHER = 4


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


@functools.cache
def _xla() -> bool:
    """Whether this platform has XLA: some builds and devices do without."""
    with tf.init_scope():
        try:
            tf.function(tf.negative, jit_compile=True)(tf.ones([]))
        except tf.errors.OpError:
            return False
    return True


def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, jit_compile=True, autograph=False) if _xla() else function


# Gradients


def gradient(given: Any) -> tf.Tensor | Rows:
    if isinstance(given, tf.IndexedSlices):
        return Rows(given.values, given.indices)
    return tf.convert_to_tensor(given)


def dense(gradient: tf.Tensor | Rows, variable: Any) -> tf.Tensor:
    if not isinstance(gradient, Rows):
        return gradient
    valid = gradient.indices < variable.shape[0]  # the others are padding
    return tf.math.unsorted_segment_sum(
        gradient.values, tf.where(valid, gradient.indices, -1), variable.shape[0]
    )


def reduced(gradients: Sequence[tf.Tensor | Rows], dtypes: Sequence[str]) -> list[tf.Tensor | Rows]:
    given = list(gradients)
    if replicas() > 1 and not tf.distribute.in_cross_replica_context():
        given = [
            tf.IndexedSlices(*g) if isinstance(g, Rows) else tf.cast(g, dtype)
            for g, dtype in zip(given, dtypes)
        ]
        replica = tf.distribute.get_replica_context()
        given = [gradient(g) for g in replica.all_reduce(tf.distribute.ReduceOp.SUM, given)]
    return [
        _summed(tf.cast(g.values, dtype), g.indices) if isinstance(g, Rows) else g
        for g, dtype in zip(given, dtypes)
    ]


def _summed(values: tf.Tensor, indices: tf.Tensor) -> Rows:
    """Each index once, with the sum of its rows."""
    if not _xla():
        indices, position = tf.unique(indices)
        return Rows(
            tf.math.unsorted_segment_sum(values, position, tf.shape(indices)[0]), indices
        )
    if indices.shape[0] is None:
        # XLA compiles for each number of rows: powers of two keep these few.
        count = tf.shape(indices)[0]
        doublings = tf.math.log(tf.cast(tf.maximum(count, 1), tf.float64)) / math.log(2)
        extra = tf.cast(2 ** tf.math.ceil(doublings - 1e-9), tf.int32) - count
        values = tf.pad(values, [[0, extra], *[[0, 0]] * (len(values.shape) - 1)])
        indices = tf.pad(indices, [[0, extra]], constant_values=indices.dtype.max)
    return Rows(*_summed_by_xla()(values, indices))


@functools.cache
def _summed_by_xla() -> Callable[..., Any]:
    def summed(values: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.shape(indices)[0]
        order = tf.argsort(indices, stable=True)
        ordered = tf.gather(indices, order)
        first = tf.concat([[1], tf.cast(ordered[1:] != ordered[:-1], tf.int32)], axis=0)
        position = tf.cumsum(first) - 1
        sums = tf.math.unsorted_segment_sum(tf.gather(values, order), position, count)
        # As many as were given, for XLA needs to know how many: those at the end are padding.
        padding = tf.fill([count], indices.dtype.max)
        return sums, tf.tensor_scatter_nd_update(padding, position[:, None], ordered)

    return _fused(summed)


def squared_norm(gradient: tf.Tensor | Rows, dtype: str) -> tf.Tensor:
    values = gradient.values if isinstance(gradient, Rows) else gradient
    return 2 * tf.nn.l2_loss(tf.cast(values, dtype))


# Updates


class Update:
    def __init__(
        self,
        function: Callable[[Mapping[str, Any], list[Any], Sequence[Any]], list[Any]],
        elementwise: bool = True,
        by_rows: bool = False,
        compiled: bool = True,
    ) -> None:
        self.function = function
        self.by_rows = by_rows
        self.compiled = compiled
        self._functions: dict[Any, Callable[..., None]] = {}  # by the shapes they are compiled for

    def __call__(
        self, scalars: Mapping[str, Any], entries: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    ) -> None:
        variables = [[_native(v) for v in group] for group, _ in entries]
        inputs = [list(given) for _, given in entries]
        if not tf.distribute.has_strategy():
            self._in_groups(dict(scalars), variables, inputs)
            return

        def on_all_replicas(
            strategy: tf.distribute.Strategy, scalars: Mapping[str, Any], inputs: Sequence[Any]
        ) -> None:
            def on_one(first: Any, others: Sequence[Any], *given: Any) -> None:
                self._carry_out(given[0], [[first, *others]], [given[1]])

            for (first, *others), given in zip(variables, inputs):
                args = (others, scalars, given)
                strategy.extended.update(first, on_one, args=args, group=False)

        if tf.distribute.in_cross_replica_context():
            on_all_replicas(tf.distribute.get_strategy(), scalars, inputs)
        else:
            # Mirrored variables are written from outside the replicas, once for all of them.
            replica = tf.distribute.get_replica_context()
            replica.merge_call(on_all_replicas, args=(dict(scalars), inputs))

    def _in_groups(
        self, scalars: dict[str, Any], variables: list[list[Any]], inputs: list[list[Any]]
    ) -> None:
        def is_small(i: int) -> bool:
            rows = any(isinstance(given, Rows) for given in inputs[i])
            return not rows and variables[i][0].shape.num_elements() <= SMALL

        # In the order of their shapes, so that XLA compiles a group once for many.
        small = [i for i in range(len(inputs)) if is_small(i)]
        small.sort(key=lambda i: tuple(variables[i][0].shape))
        groups = [[i] for i in range(len(inputs)) if not is_small(i)]
        groups += [small[i : i + TOGETHER] for i in range(0, len(small), TOGETHER)]
        for group in groups:
            self._carry_out(scalars, [variables[i] for i in group], [inputs[i] for i in group])

    def _carry_out(
        self, scalars: dict[str, Any], variables: list[list[Any]], inputs: list[Sequence[Any]]
    ) -> None:
        compute = self._compute
        if self.compiled and _xla():
            shapes = tuple(tuple(group[0].shape) for group in variables)
            if shapes not in self._functions:
                self._functions[shapes] = _fused(self._compute)
            compute = self._functions[shapes]
        compute(scalars, variables, inputs)

    def _compute(
        self, scalars: dict[str, Any], variables: list[list[Any]], inputs: list[Sequence[Any]]
    ) -> None:
        for group, given in zip(variables, inputs):
            if given and isinstance(given[0], Rows):
                self._compute_rows(scalars, group, *given)
            else:
                self._assign(group, self.function(scalars, self._read(group), given))

    def _compute_rows(
        self, scalars: dict[str, Any], group: list[Any], rows: Rows, *others: Any
    ) -> None:
        old = self._read(group)
        touched = [tf.gather(value, rows.indices) for value in old]
        new = self.function(scalars, touched, [rows.values, *others])
        if not self.by_rows:
            # All other rows change as if the gradient were zero; the touched ones are put right.
            zero = tf.zeros(group[0].shape, rows.values.dtype)
            self._assign(group, self.function(scalars, old, [zero, *others]))
        for variable, value in zip(group, new):
            # Not `scatter_update`, which copies the table when it is read again.
            tf.raw_ops.ResourceScatterNdUpdate(
                ref=variable.handle,
                indices=rows.indices[:, None],
                updates=tf.cast(value, variable.dtype),
            )

    @staticmethod
    def _read(group: list[Any]) -> list[tf.Tensor]:
        return [tf.convert_to_tensor(variable) for variable in group]

    @staticmethod
    def _assign(group: list[Any], values: list[tf.Tensor]) -> None:
        for variable, value in zip(group, values):
            variable.assign(tf.cast(value, variable.dtype))


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
