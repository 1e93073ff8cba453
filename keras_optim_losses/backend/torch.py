"""PyTorch: eager, in place, and many small weights in one go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

# Weights up to this many entries are laid end to end: below it, starting an operation costs more
# than copying what it works on. `benchmarks/torch_small_weights.py` shows where the two meet.
SMALL = 1024


def key(variable: Any) -> int:
    return id(variable)


@contextlib.contextmanager
def placement(variable: Any) -> Iterator[None]:
    yield None


def dense(gradient: Any) -> torch.Tensor:
    gradient = torch.as_tensor(gradient)
    return gradient.to_dense() if gradient.is_sparse else gradient


def reduced(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return list(gradients)


def _end_to_end(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@torch.no_grad()
def update(
    function: Callable[[list[Any], Sequence[Any]], list[Any]],
    entries: Sequence[tuple[Sequence[Any], Sequence[Any]]],
    elementwise: bool,
) -> None:
    small: list[tuple[list[Any], Sequence[Any]]] = []
    large: list[tuple[list[Any], Sequence[Any]]] = []
    for variables, inputs in entries:
        tensors = [variable.value for variable in variables]
        joinable = elementwise and tensors[0].numel() <= SMALL
        (small if joinable else large).append((tensors, inputs))

    for tensors, inputs in large:
        for tensor, value in zip(tensors, function(tensors, inputs)):
            tensor.copy_(value)

    if small:
        columns = list(zip(*(tensors for tensors, _ in small)))
        inputs = [_end_to_end(column) for column in zip(*(inputs for _, inputs in small))]
        sizes = [tensor.numel() for tensor in columns[0]]
        for column, value in zip(columns, function([_end_to_end(c) for c in columns], inputs)):
            parts = [part.view(t.shape) for part, t in zip(value.split(sizes), column)]
            torch._foreach_copy_(column, parts)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one.view(torch.int16) == other.view(torch.int16)


def owned(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in tensors]


def of_shape(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return tensor  # shapes are always known, and have been compared


def is_eager(tensor: Any) -> bool:
    # Keras traces shapes on the meta device, which holds no values.
    return tensor.device.type != "meta" and not torch.compiler.is_compiling()


def replicas() -> int:
    return 1
