"""Steps in place on PyTorch, by kernels that serve all weights in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from keras_optim_losses.backend.in_place import InPlace, Moments, Squares, Sum
from keras_optim_losses.backend.rows import Rows


def has_kernels(tensors: Sequence[torch.Tensor], inputs: Sequence[Any]) -> bool:
    """Whether these can be worked on in place: PyTorch's kernels take memory as one row."""
    for tensor in tensors:
        if not tensor.is_contiguous():
            return False
    return not isinstance(inputs[0], Rows)


def numbers(scalars: Mapping[str, Any], tensor: torch.Tensor) -> Mapping[str, Any]:
    """Scalars as Python has them; on a GPU as they are, for to read one is to wait for it.

    There kernels take scalars of float32 alone.
    """
    if tensor.device.type != "cpu" and tensor.dtype is torch.float32:
        return scalars
    return {name: float(value) for name, value in scalars.items()}


def carry_out(
    steps: Sequence[InPlace],
    entries: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]],
    block: int,
) -> None:
    """Make the steps, for all entries at once.

    On a CPU those of several operations are made on about `block` entries at a time, which stay in
    the cache from one operation to the next.
    """
    columns = [list(column) for column in zip(*(tensors for tensors, _ in entries))]
    dtype = columns[0][0].dtype
    given, *factors = zip(*(inputs for _, inputs in entries))
    gradients = [
        g if g.dtype is dtype and g.is_contiguous() else g.to(dtype).contiguous() for g in given
    ]
    columns.append(torch._foreach_mul(gradients, factors[0]) if factors else gradients)
    steps = list(steps)
    while steps:
        step, *steps = steps
        if isinstance(step, Moments):
            _moments(columns, step)
        elif isinstance(step, Squares):
            _squares(columns, step, block)
        elif steps and isinstance(second := steps[0], Sum) and _follows(step, second):
            _velocity(columns, step, second)
            steps.pop(0)
        else:
            if not _is_one(step.kept):
                torch._foreach_mul_(columns[step.target], step.kept)
            _add(columns[step.target], columns[step.source], step.share)


def _moments(columns: list[list[torch.Tensor]], step: Moments) -> None:
    # On a GPU the kernel takes 1 − β₂ of a β₂ in float32, so that v is off by 1e-5 for β₂ = 0.999;
    # what corrects v is off by as much, and weights are not.
    weights = columns[step.weight]
    t = torch.as_tensor(step.t, dtype=torch.float32, device=weights[0].device)
    torch._fused_adam_(
        weights,
        columns[step.gradient],
        columns[step.momentum],
        columns[step.velocity],
        [] if step.largest is None else columns[step.largest],
        [t] * len(weights),
        lr=step.learning_rate,
        beta1=step.beta_1,
        beta2=step.beta_2,
        eps=float(step.epsilon),
        weight_decay=0.0,
        amsgrad=step.largest is not None,
        maximize=False,
    )


def _squares(columns: list[list[torch.Tensor]], step: Squares, block: int) -> None:
    used = [columns[place] for place in (step.weight, step.gradient, step.squares)]
    for weights, gradients, squares in _in_cache(used, block):
        if not _is_one(step.kept):
            torch._foreach_mul_(squares, step.kept)
        torch._foreach_addcmul_(squares, gradients, gradients, value=step.share)
        roots = torch._foreach_add(squares, step.epsilon)
        torch._foreach_sqrt_(roots)
        if isinstance(step.learning_rate, float):
            torch._foreach_addcdiv_(weights, gradients, roots, value=-step.learning_rate)
        else:
            _add(weights, torch._foreach_div(gradients, roots), -step.learning_rate)


def _add(targets: list[torch.Tensor], sources: list[torch.Tensor], share: Any) -> None:
    """target ← target + share · source. `torch._foreach_add_` would wait for a share on a GPU."""
    if isinstance(share, torch.Tensor):
        _fused_sgd(targets, sources, [], lr=-share)
    else:
        torch._foreach_add_(targets, sources, alpha=share)


def _follows(first: Sum, second: Sum) -> bool:
    """Whether the second adds to another tensor what the first has made: a kernel does both."""
    chained = second.source == first.target != second.target != first.source
    numbers = isinstance(first.share, float) and not isinstance(second.share, torch.Tensor)
    if not chained or not numbers or not _is_one(second.kept) or first.kept == 0:
        return False
    return abs(first.share) >= 2**-28  # as 1 − share is handed over, less would lose digits


def _velocity(columns: list[list[torch.Tensor]], first: Sum, second: Sum) -> None:
    weights, gradients, velocities = second.target, first.source, first.target
    _fused_sgd(
        columns[weights],
        columns[gradients],
        columns[velocities],
        momentum=first.kept,
        dampening=1 - first.share,
        lr=-float(second.share),
    )


def _fused_sgd(
    weights: list[torch.Tensor],
    gradients: list[torch.Tensor],
    velocities: list[torch.Tensor],
    lr: Any,
    momentum: float = 0.0,
    dampening: float = 0.0,
) -> None:
    """v ← momentum · v + (1 − dampening) · g, if there is v, else v = g; w ← w − lr · v."""
    torch._fused_sgd_(
        weights,
        gradients,
        velocities,
        lr=lr,
        momentum=momentum,
        dampening=dampening,
        weight_decay=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


def _is_one(number: Any) -> bool:
    return not isinstance(number, torch.Tensor) and number == 1  # to look at one is to wait


def _in_cache(columns: list[list[torch.Tensor]], block: int) -> Iterator[list[list[torch.Tensor]]]:
    """The same tensors in blocks of about `block` entries: several small ones, or a part of one."""
    if columns[0][0].device.type != "cpu":
        yield columns
        return
    waiting: list[list[torch.Tensor]] = [[] for _ in columns]
    filled = 0
    for row in zip(*columns):
        size = row[0].numel()
        parts = [row] if size <= block else zip(*(t.view(-1).split(block) for t in row))
        for part in parts:
            for column, tensor in zip(waiting, part):
                column.append(tensor)
            filled += min(size, block)
            if filled >= block:
                yield waiting
                waiting, filled = [[] for _ in columns], 0
    if filled:
        yield waiting
