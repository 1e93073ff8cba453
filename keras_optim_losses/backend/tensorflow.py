"""TensorFlow: graphs or eager, one device or a `tf.distribute` strategy.

What happens to a gradient: `gradient` takes it as it comes, `reduced` sums it over the replicas and
an embedding's over ids that occur twice, and `Update` reads, computes and writes a weight and its
state in one pass over memory: by a kernel of TensorFlow's where one computes just this, and else
compiled by XLA, also where the model is not.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_optim_losses.backend.in_place import InPlace
from keras_optim_losses.backend.rows import Rows
from keras_optim_losses.backend.tensorflow_in_place import kernel_for

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
        inside = tf.distribute.get_strategy() is strategy
        scope = contextlib.nullcontext() if inside else strategy.scope()
        with scope, strategy.extended.colocate_vars_with(native):
            yield None


@functools.cache
def has_xla() -> bool:
    """Whether this platform has XLA: some builds and devices do without."""
    with tf.init_scope():
        try:
            tf.function(tf.negative, jit_compile=True)(tf.ones([]))
        except tf.errors.OpError:
            return False
    return True


def _compiled_around() -> bool:
    """Whether the graph that is being made will be compiled by XLA as a whole."""
    # Not public for everybody, but exported for Keras.
    return tf.__internal__.get_enclosing_xla_context() is not None


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, jit_compile=True, autograph=False) if has_xla() else function


# Gradients


def are_plain(gradients: Sequence[Any], shapes: list[tuple[int, ...]]) -> bool:
    return False  # a step is traced once


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
    if replicas() > 1:
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
    """Each index once, with the sum of its rows, and padding."""
    if _compiled_around():
        first = _first_places(indices)
        places = tf.range(tf.size(first))
        distinct = tf.where(tf.equal(first, places), indices, indices.dtype.max)
        return Rows(tf.math.unsorted_segment_sum(values, first, tf.size(first)), distinct)
    distinct, position = tf.unique(indices)
    if not has_xla():
        return Rows(tf.math.unsorted_segment_sum(values, position, tf.shape(distinct)[0]), distinct)
    size = count = indices.shape[0]
    if count is None:
        # XLA compiles for each number of rows: powers of two keep these few.
        count = tf.shape(indices)[0]
        doublings = tf.math.log(tf.cast(tf.maximum(count, 1), tf.float64)) / math.log(2)
        size = tf.cast(2 ** tf.math.ceil(doublings - 1e-9), tf.int32)
        values = tf.pad(values, [[0, size - count], *[[0, 0]] * (len(values.shape) - 1)])
        position = tf.pad(position, [[0, size - count]], constant_values=-1)
    room = [[0, size - tf.shape(distinct)[0]]]
    distinct = tf.pad(distinct, room, constant_values=indices.dtype.max)
    return Rows(_sums(tuple(values.shape))(values, position, size), distinct)


def _first_places(indices: tf.Tensor) -> tf.Tensor:
    """For each index one of the places that have it, the same for all of them.

    By hashing, for `tf.unique` sorts where XLA compiles it, which is slow.
    """
    count = tf.size(indices)
    places = tf.range(count)
    slots = 4 * count + 1
    spread = tf.constant(2654435761, tf.uint32)  # Knuth's: 2³² over the golden ratio

    def attempt(found: tf.Tensor, left: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, ...]:
        hashed = tf.cast(indices, tf.uint32) * factor % tf.cast(slots, tf.uint32)
        slot = tf.where(left, tf.cast(hashed, tf.int32), slots)  # beyond the table: not written
        # Of those that share a slot one remains, so that each attempt leaves fewer.
        table = tf.tensor_scatter_nd_update(tf.zeros([slots], tf.int32), slot[:, None], places)
        winner = tf.gather(table, tf.minimum(slot, slots - 1))
        same = left & tf.equal(tf.gather(indices, winner), indices)
        return tf.where(same, winner, found), left & ~same, factor * spread

    start = places, tf.ones_like(indices, tf.bool), spread
    found, _, _ = tf.while_loop(lambda found, left, factor: tf.reduce_any(left), attempt, start)
    return found


@functools.cache
def _sums(shape: tuple[int | None, ...]) -> Callable[..., tf.Tensor]:
    return fused(tf.math.unsorted_segment_sum)


def squared_norm(gradient: tf.Tensor | Rows, dtype: str) -> tf.Tensor:
    values = gradient.values if isinstance(gradient, Rows) else gradient
    return 2 * tf.nn.l2_loss(tf.cast(values, dtype))


def all_finite(gradient: tf.Tensor | Rows) -> tf.Tensor:
    values = gradient.values if isinstance(gradient, Rows) else gradient
    return tf.reduce_all(tf.math.is_finite(values))


# Updates

#: The variables of a weight and its state, and what an update is given beside them.
Entry = tuple[list[Any], list[Any]]


class Update:
    def __init__(
        self,
        function: Callable[[Mapping[str, Any], list[Any], Sequence[Any]], list[Any]],
        elementwise: bool = True,
        by_rows: bool = False,
        compiled: bool = True,
        in_place: Callable[[Mapping[str, Any]], Sequence[InPlace]] | None = None,
    ) -> None:
        self.function = function
        self.in_place = in_place
        self.by_rows = by_rows
        self.compiled = compiled
        self._functions: dict[Any, Callable[..., None]] = {}  # by the shapes they are compiled for

    def __call__(
        self, scalars: Mapping[str, Any], entries: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    ) -> None:
        found = [([_native(v) for v in group], list(inputs)) for group, inputs in entries]
        scalars = dict(scalars)
        kernel, whole, others = self._by_kernel(scalars, found)
        strategy = getattr(found[0][0][0], "distribute_strategy", None)
        if strategy is None:
            for group, inputs in whole:
                kernel.call(kernel.numbers, group, inputs)
            self._in_groups(scalars, others)
        else:
            if whole:
                _on_all_replicas(strategy, kernel.call, kernel.numbers, whole)
            if others:
                _on_all_replicas(strategy, self._carry_out_one, scalars, others)

    def _by_kernel(
        self, scalars: dict[str, Any], entries: list[Entry]
    ) -> tuple[Any, list[Entry], list[Entry]]:
        """A kernel, the entries that it serves, and the others."""
        first, _ = entries[0]
        if self.in_place is None:
            return None, [], entries
        kernel = kernel_for(self.in_place(scalars), len(first), first[0].dtype)
        whole: list[Entry] = []
        others: list[Entry] = []
        for group, inputs in entries:
            suits = kernel is not None and len(inputs) == 1 and not isinstance(inputs[0], Rows)
            (whole if suits else others).append((group, inputs))
        return kernel, whole, others

    def _in_groups(self, scalars: dict[str, Any], entries: list[Entry]) -> None:
        def is_small(entry: Entry) -> bool:
            group, inputs = entry
            rows = any(isinstance(given, Rows) for given in inputs)
            return not rows and group[0].shape.num_elements() <= SMALL

        # In the order of their shapes, so that XLA compiles a group once for many.
        small = sorted(filter(is_small, entries), key=lambda entry: tuple(entry[0][0].shape))
        together = [[entry] for entry in entries if not is_small(entry)]
        together += [small[i : i + TOGETHER] for i in range(0, len(small), TOGETHER)]
        for each in together:
            self._carry_out(scalars, *map(list, zip(*each)))

    def _carry_out_one(
        self, scalars: dict[str, Any], group: list[Any], inputs: Sequence[Any]
    ) -> None:
        self._carry_out(scalars, [group], [inputs])

    def _carry_out(
        self, scalars: dict[str, Any], variables: list[list[Any]], inputs: list[Sequence[Any]]
    ) -> None:
        first = inputs[0][0] if inputs[0] else None
        if not isinstance(first, Rows):
            self._fused(self._compute, variables)(scalars, variables, inputs)
            return
        [group], [[rows, *others]] = variables, inputs
        if self.by_rows:
            # Read by TensorFlow, which fetches rows ahead, and from where XLA would wait for each.
            inside = tf.minimum(rows.indices, tf.cast(group[0].shape[0] - 1, rows.indices.dtype))
            old = [tf.gather(tf.convert_to_tensor(variable), inside) for variable in group]
            self._fused(self._compute_rows, variables)(scalars, group, rows, old, others)
        elif _compiled_around():
            # In one program with all the rest, what follows would have the table copied.
            whole = [[dense(rows, group[0]), *others]]
            self._fused(self._compute, variables)(scalars, variables, whole)
        else:
            # Read by XLA: held by TensorFlow, the table would be copied when it is written.
            new = self._fused(self._touched, variables)(scalars, group, rows, others)
            # All other rows change as if the gradient were zero; the touched ones are put right.
            lowest = tf.constant(-math.inf, group[0].dtype)
            self._fused(self._untouched, variables)(scalars, group, lowest, others)
            self._fused(self._scatter, variables)(group, rows.indices, new)

    def _fused(
        self, function: Callable[..., Any], variables: list[list[Any]]
    ) -> Callable[..., Any]:
        if not self.compiled:
            return function
        # One for each set of shapes, or TensorFlow would warn of much retracing.
        key = (function.__name__, *(tuple(group[0].shape) for group in variables))
        if key not in self._functions:
            self._functions[key] = fused(function)
        return self._functions[key]

    def _compute(
        self, scalars: dict[str, Any], variables: list[list[Any]], inputs: list[Sequence[Any]]
    ) -> None:
        for group, given in zip(variables, inputs):
            old = [tf.convert_to_tensor(variable) for variable in group]
            self._assign(group, self.function(scalars, old, given))

    def _compute_rows(
        self,
        scalars: dict[str, Any],
        group: list[Any],
        rows: Rows,
        old: list[tf.Tensor],
        others: Sequence[Any],
    ) -> None:
        new = self.function(scalars, old, [rows.values, *others])
        self._scatter(group, rows.indices, new)

    def _touched(
        self, scalars: dict[str, Any], group: list[Any], rows: Rows, others: Sequence[Any]
    ) -> list[tf.Tensor]:
        old = [tf.gather(tf.convert_to_tensor(variable), rows.indices) for variable in group]
        return self.function(scalars, old, [rows.values, *others])

    def _untouched(
        self, scalars: dict[str, Any], group: list[Any], lowest: tf.Tensor, others: Sequence[Any]
    ) -> None:
        old = [tf.convert_to_tensor(variable) for variable in group]
        # Zeros of which XLA does not know: with those that it knows it is much slower.
        zeros = tf.where(old[0] < lowest, old[0], tf.zeros_like(old[0]))
        self._assign(group, self.function(scalars, old, [zeros, *others]))

    @staticmethod
    def _assign(group: list[Any], values: list[tf.Tensor]) -> None:
        for variable, value in zip(group, values):
            variable.assign(tf.cast(value, variable.dtype))

    @staticmethod
    def _scatter(group: list[Any], indices: tf.Tensor, values: list[tf.Tensor]) -> None:
        for variable, value in zip(group, values):
            # Not `scatter_update`, which copies the table when it is read again.
            tf.raw_ops.ResourceScatterNdUpdate(
                ref=variable.handle,
                indices=indices[:, None],
                updates=tf.cast(value, variable.dtype),
            )


def _on_all_replicas(
    strategy: tf.distribute.Strategy,
    function: Callable[[dict[str, Any], list[Any], Sequence[Any]], None],
    scalars: dict[str, Any],
    entries: list[Entry],
) -> None:
    """`function(scalars, variables, inputs)` for each entry, where each replica has its own."""

    def update(
        strategy: tf.distribute.Strategy, scalars: dict[str, Any], inputs: Sequence[Any]
    ) -> None:
        def on_one(first: Any, others: Sequence[Any], *given: Any) -> None:
            function(given[0], [first, *others], given[1])

        for ((first, *others), _), given in zip(entries, inputs):
            args = (others, scalars, given)
            strategy.extended.update(first, on_one, args=args, group=False)

    args = (scalars, [inputs for _, inputs in entries])
    if tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context():
        # Mirrored variables are written from outside the replicas, once for all of them.
        tf.distribute.get_replica_context().merge_call(update, args=args)
    else:
        with strategy.scope():
            update(strategy, *args)


# Checkpoints


class Record(tf.train.experimental.PythonState):
    def __init__(self, write: Callable[[], str], read: Callable[[str], None]) -> None:
        self.write = write
        self.read = read

    def serialize(self) -> str:
        return self.write()

    def deserialize(self, string_value: bytes) -> None:
        self.read(string_value.decode())


def bits(x: tf.Tensor) -> tf.Tensor:
    return tf.bitcast(x, tf.int32 if x.dtype == tf.float32 else tf.int16)


def from_bits(bits: tf.Tensor) -> tf.Tensor:
    return tf.bitcast(bits, tf.float32)


def number(scalar: Any, dtype: str | None = None) -> tf.Tensor:
    value = tf.convert_to_tensor(_native(scalar))  # Keras' would give a variable back
    return value if dtype is None else tf.cast(value, dtype)


def as_tensors(numbers: Mapping[str, Any], dtype: str) -> Mapping[str, Any]:
    return numbers


def set_number(variable: keras.Variable, number: tf.Tensor) -> None:
    variable.assign(number)


def owned(tensors: Sequence[Any]) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(tensor) for tensor in tensors]  # variables are read now


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
    if tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


@tf.custom_gradient
def over_replicas(x: tf.Tensor) -> Any:
    count = replicas()
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)
    # Each replica's value depends on every part: as many derivatives, which are alike, add up.
    return total, lambda upstream: upstream * count


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    # Out of reach, in the kernels of stateful operations. Those that Keras uses are stateless.
    return contextlib.nullcontext()


def inference(model: Any) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def first_batch(model: Any, arguments: tuple[Any, ...]) -> tuple[Any, list[Any], tuple[Any, ...]]:
    (iterator,) = arguments
    if not isinstance(iterator, tf.data.Iterator):
        raise ValueError(
            "CheckFirstBatch cannot look at a batch that a `tf.distribute` strategy spreads over "
            "several devices. Call `losses.check(model, x, y)` before `fit`, and leave it out."
        )
    # What is taken is put before the function again, as data of the same type: it is not traced
    # anew.
    taken = list(itertools.islice(iterator, model.steps_per_execution))
    again = [
        tf.data.experimental.from_variant(
            tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(batch)),
            iterator.element_spec,
        )
        for batch in taken
    ]
    batch = tf.nest.map_structure(
        lambda entry: None if isinstance(entry, tf.experimental.Optional) else entry, taken[0]
    )
    return batch, [], (iter(functools.reduce(tf.data.Dataset.concatenate, again)),)
