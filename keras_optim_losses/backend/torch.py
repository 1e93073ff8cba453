"""PyTorch: eager and in place, in blocks that stay in the processor's cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import keras
import torch

from keras_optim_losses.backend.in_place import InPlace
from keras_optim_losses.backend.rows import Rows
from keras_optim_losses.backend.torch_in_place import carry_out, has_kernels, numbers

# On a CPU an elementwise rule runs on blocks of so many entries. What its operations leave to each
# other then stays in the cache, and starting them costs little next to their work.
BLOCK = 2**17
# Weights up to this many entries are laid end to end until they fill a block: below it, starting an
# operation costs more than copying what it works on.
SMALL = 2**14
# A GPU is done with as many by the time that it takes to start a few operations.
GPU_BLOCK, GPU_SMALL = 2**24, 2**20


def key(variable: Any) -> int:
    return id(variable)


@contextlib.contextmanager
def placement(variable: Any) -> Iterator[None]:
    yield None


def are_plain(gradients: Sequence[Any], shapes: list[tuple[int, ...]]) -> bool:
    return (
        set(map(type, gradients)) == {torch.Tensor}
        and list(map(attrgetter("shape"), gradients)) == shapes
        and set(map(attrgetter("dtype"), gradients)) == {torch.float32}
        and set(map(attrgetter("layout"), gradients)) == {torch.strided}
    )


def gradient(given: Any) -> torch.Tensor | Rows:
    given = torch.as_tensor(given)
    if not given.is_sparse:
        return given
    if given.sparse_dim() > 1:
        return given.to_dense()
    given = given.coalesce()  # each row once, summed
    return Rows(given.values(), given.indices()[0])


def dense(gradient: torch.Tensor | Rows, variable: Any) -> torch.Tensor:
    if not isinstance(gradient, Rows):
        return gradient
    zeros = gradient.values.new_zeros(tuple(variable.shape))
    return zeros.index_copy(0, gradient.indices, gradient.values)


def reduced(
    gradients: Sequence[torch.Tensor | Rows], dtypes: Sequence[str]
) -> list[torch.Tensor | Rows]:
    return list(gradients)


def squared_norm(gradient: torch.Tensor | Rows, dtype: str) -> torch.Tensor:
    values = gradient.values if isinstance(gradient, Rows) else gradient
    return torch.linalg.vector_norm(values, dtype=getattr(torch, dtype)) ** 2


def all_finite(gradient: torch.Tensor | Rows) -> torch.Tensor:
    values = gradient.values if isinstance(gradient, Rows) else gradient
    return torch.isfinite(values).all()


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
        self.elementwise = elementwise
        self.by_rows = by_rows
        self.in_place = in_place

    @torch.no_grad()
    def __call__(
        self, scalars: Mapping[str, Any], entries: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    ) -> None:
        found = list(zip(_values([group for group, _ in entries]), [x for _, x in entries]))
        first = found[0][0][0]
        known = first.device.type in ("cpu", "cuda")  # elsewhere not all kernels are to be had
        if self.in_place is not None and known and not torch.compiler.is_compiling():
            whole: list[Any] = []
            others: list[Any] = []
            for entry in found:
                (whole if has_kernels(*entry) else others).append(entry)
            if whole:
                carry_out(self.in_place(numbers(scalars, first)), whole, BLOCK)
            found = others
        if found:
            dtype = "float64" if first.dtype is torch.float64 else "float32"
            self._carry_out(as_tensors(scalars, dtype), found)

    def _carry_out(
        self, scalars: Mapping[str, Any], entries: list[tuple[list[torch.Tensor], Sequence[Any]]]
    ) -> None:
        waiting: list[tuple[list[torch.Tensor], Sequence[Any]]] = []
        filled = 0
        on_cpu = entries and entries[0][0][0].device.type == "cpu"
        small, full = (SMALL, BLOCK) if on_cpu else (GPU_SMALL, GPU_BLOCK)
        for tensors, inputs in entries:
            size = tensors[0].numel()
            if inputs and isinstance(inputs[0], Rows):
                self._rows(scalars, tensors, *inputs)
            elif not self.elementwise or not all(t.is_contiguous() for t in tensors):
                _write(tensors, self.function(scalars, tensors, inputs))
            elif size > small:
                self._in_blocks(scalars, tensors, inputs)
            else:
                if filled + size > full:
                    self._end_to_end(scalars, waiting)
                    waiting, filled = [], 0
                waiting.append((tensors, inputs))
                filled += size
        if waiting:
            self._end_to_end(scalars, waiting)

    def _in_blocks(
        self, scalars: Mapping[str, Any], tensors: list[torch.Tensor], inputs: Sequence[Any]
    ) -> None:
        whole = tensors[0].device.type != "cpu" or torch.compiler.is_compiling()
        size = tensors[0].numel() if whole else BLOCK
        columns = [tensor.view(-1).split(size) for tensor in tensors]
        given = [
            entry.reshape(-1).split(size) if entry.dim() else [entry] * len(columns[0])
            for entry in inputs
        ]
        for i, block in enumerate(zip(*columns)):
            _write(block, self.function(scalars, list(block), [column[i] for column in given]))

    def _end_to_end(
        self,
        scalars: Mapping[str, Any],
        entries: list[tuple[list[torch.Tensor], Sequence[Any]]],
    ) -> None:
        columns = list(zip(*(tensors for tensors, _ in entries)))
        rows = [[tensor.view(-1) for tensor in column] for column in columns]
        inputs = [
            torch.cat(
                [
                    (x if x.dim() else x.expand(t.shape)).reshape(-1)
                    for x, t in zip(column, columns[0])
                ]
            )
            for column in zip(*(inputs for _, inputs in entries))
        ]
        joined = [torch.cat(row) for row in rows]
        sizes = [row.numel() for row in rows[0]]
        for row, value in zip(rows, self.function(scalars, joined, inputs)):
            torch._foreach_copy_(row, value.split(sizes))

    def _rows(
        self, scalars: Mapping[str, Any], tensors: list[torch.Tensor], rows: Rows, *others: Any
    ) -> None:
        touched = [tensor[rows.indices] for tensor in tensors]
        new = self.function(scalars, touched, [rows.values, *others])
        if not self.by_rows:
            # All other rows change as if the gradient were zero; the touched ones are put right.
            zero = rows.values.new_zeros(())
            self._carry_out(scalars, [(tensors, [zero, *others])])
        for tensor, value in zip(tensors, new):
            tensor.index_copy_(0, rows.indices, value.to(tensor.dtype))


def _values(groups: Sequence[Sequence[Any]]) -> list[list[torch.Tensor]]:
    """The tensors of variables.

    `value` asks each time whether a scope of Keras' has another one. For hundreds of small weights
    that takes longer than their update, so the first weight is asked for all. What Keras keeps to
    itself in `_value` is the tensor that `value` gives without a scope.
    """
    first = groups[0][0]
    if first.value is first._value:
        return [[variable._value for variable in group] for group in groups]
    return [[variable.value for variable in group] for group in groups]


def _write(tensors: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    for tensor, value in zip(tensors, values):
        tensor.copy_(value)


class Record:
    def __init__(self, write: Callable[[], str], read: Callable[[str], None]) -> None:
        pass  # only TensorFlow has checkpoints of its own


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int16)


def from_bits(bits: torch.Tensor) -> torch.Tensor:
    return bits.view(torch.float32)


def number(scalar: Any, dtype: str | None = None) -> Any:
    if isinstance(scalar, (int, float)):
        return scalar
    value = scalar.value if isinstance(scalar, keras.Variable) else scalar
    on_cpu = value.device.type == "cpu"  # elsewhere it would have to be waited for
    if on_cpu and not torch.compiler.is_compiling():
        return value.item()
    return value if dtype is None else value.to(getattr(torch, dtype))


def as_tensors(numbers: Mapping[str, Any], dtype: str) -> Mapping[str, Any]:
    return {
        name: torch.tensor(x, dtype=getattr(torch, dtype)) if isinstance(x, (int, float)) else x
        for name, x in numbers.items()
    }


def set_number(variable: keras.Variable, number: Any) -> None:
    variable.value.fill_(number)


def owned(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in tensors]


def of_shape(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return tensor  # shapes are always known, and have been compared


def is_eager(tensor: Any) -> bool:
    # Keras traces shapes on the meta device, which holds no values.
    return tensor.device.type != "meta" and not torch.compiler.is_compiling()


def replicas() -> int:
    return 1


def over_replicas(x: torch.Tensor) -> torch.Tensor:
    return x


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    return torch.random.fork_rng(range(torch.cuda.device_count()))


@contextlib.contextmanager
def inference(model: Any) -> Iterator[None]:
    # Keras calls a module of PyTorch's own in training mode where it is not told otherwise.
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.no_grad():
            yield
    finally:
        for buffer, value in buffers:
            buffer.data.copy_(value)
        for module, training in modes:
            module.training = training


def first_batch(model: Any, arguments: tuple[Any, ...]) -> tuple[Any, list[Any], tuple[Any, ...]]:
    (batches,) = arguments
    return batches[0], [], arguments
