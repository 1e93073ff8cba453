"""PyTorch: eager and in place, in blocks that stay in the processor's cache."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from keras_optim_losses.backend.in_place import InPlace, Moments, Squares, Sum
from keras_optim_losses.backend.rows import Rows

# On a CPU an elementwise rule runs on blocks of so many entries. What its operations leave to each
# other then stays in the cache, and starting them costs little next to their work.
BLOCK = 2**17
# A loss of more than so many entries is computed in blocks of samples of about so many: there the
# memory that is not touched again outweighs the time that the blocks' operations take to start.
LARGE_LOSS, LOSS_BLOCK = 2**22, 2**19
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


def is_plain(gradient: Any, shape: Sequence[int]) -> bool:
    return (
        isinstance(gradient, torch.Tensor)
        and gradient.shape == shape
        and gradient.dtype is torch.float32
        and gradient.layout is torch.strided
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
                (whole if _has_kernels(*entry) else others).append(entry)
            if whole:
                _in_place(self.in_place(_numbers(scalars, first)), whole)
            found = others
        self._carry_out(scalars, found)

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


def _has_kernels(tensors: Sequence[torch.Tensor], inputs: Sequence[Any]) -> bool:
    """Whether these can be worked on in place: PyTorch's kernels take memory as one row."""
    for tensor in tensors:
        if not tensor.is_contiguous():
            return False
    return not isinstance(inputs[0], Rows)


def _numbers(scalars: Mapping[str, Any], tensor: torch.Tensor) -> Mapping[str, Any]:
    """Scalars as Python has them; on a GPU as they are, for to read one is to wait for it.

    There kernels take scalars of float32 alone.
    """
    if tensor.device.type != "cpu" and tensor.dtype is torch.float32:
        return scalars
    return {name: float(value) for name, value in scalars.items()}


def _in_place(
    steps: Sequence[InPlace],
    entries: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]],
) -> None:
    """One call serves all weights, and needs no memory of its own."""
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
            _squares(columns, step)
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


def _squares(columns: list[list[torch.Tensor]], step: Squares) -> None:
    used = [columns[place] for place in (step.weight, step.gradient, step.squares)]
    for weights, gradients, squares in _in_cache(used):
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


def _in_cache(columns: list[list[torch.Tensor]]) -> Iterator[list[list[torch.Tensor]]]:
    """The same tensors in blocks of about `BLOCK` entries: several small ones, or a part of one."""
    if columns[0][0].device.type != "cpu":
        yield columns
        return
    waiting: list[list[torch.Tensor]] = [[] for _ in columns]
    filled = 0
    for row in zip(*columns):
        size = row[0].numel()
        parts = [row] if size <= BLOCK else zip(*(t.view(-1).split(BLOCK) for t in row))
        for part in parts:
            for column, tensor in zip(waiting, part):
                column.append(tensor)
            filled += min(size, BLOCK)
            if filled >= BLOCK:
                yield waiting
                waiting, filled = [[] for _ in columns], 0
    if filled:
        yield waiting


def _write(tensors: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    for tensor, value in zip(tensors, values):
        tensor.copy_(value)


class Record:
    def __init__(self, write: Callable[[], str], read: Callable[[str], None]) -> None:
        pass  # only TensorFlow has checkpoints of its own


class Fused:
    def __init__(
        self,
        values: Callable[..., torch.Tensor],
        finish: Callable[..., torch.Tensor],
        axis: int | None,
    ) -> None:
        self.values, self.finish, self.axis = values, finish, axis

    def __call__(
        self,
        labels: torch.Tensor,
        predictions: torch.Tensor,
        weights: torch.Tensor | None,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        in_blocks = (
            predictions.numel() > LARGE_LOSS
            and self.axis is not None
            and self.axis % predictions.dim() > 0
            and predictions.device.type == "cpu"
            and predictions.dtype in (torch.float32, torch.float64)
            and not torch.compiler.is_compiling()
            and not any(x is not None and x.requires_grad for x in (labels, weights))
        )
        function = self.values
        if in_blocks:
            function = functools.partial(_InBlocks.apply, self.values, self.axis)
        values = function(labels, predictions, weights, mask)
        return self.finish(values, labels, weights, mask)


class _InBlocks(torch.autograd.Function):
    """Samples in blocks: what the operations leave to each other stays in the cache.

    The gradient is computed along with the values, while the block is there.
    """

    @staticmethod
    def forward(
        ctx: Any,
        function: Callable[..., torch.Tensor],
        axis: int,
        *inputs: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.function, ctx.axis = function, axis
        ctx.save_for_backward(*inputs)
        predictions: Any = inputs[1]
        samples, differentiated = len(predictions), ctx.needs_input_grad[3]
        size = max(1, LOSS_BLOCK * samples // predictions.numel())
        blocks = zip(
            *(
                [x] * samples if x is None or len(x) != samples else x.detach().split(size)
                for x in inputs
            )
        )
        slope = torch.empty_like(predictions) if differentiated else predictions
        values = []
        with torch.set_grad_enabled(differentiated):
            for (labels, block, weights, mask), out in zip(blocks, slope.split(size)):
                block.requires_grad_(differentiated)
                value = function(labels, block, weights, mask)
                values.append(value.detach())
                if differentiated:
                    out.copy_(torch.autograd.grad(value.sum(), block)[0])
        ctx.slope = slope
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _, predictions, *_ = inputs = ctx.saved_tensors
        slope, ctx.slope = ctx.slope, None
        if slope is None or torch.is_grad_enabled():
            # A second time, or to be differentiated in its turn.
            with torch.enable_grad():
                values = ctx.function(*inputs)
            (slope,) = torch.autograd.grad(
                values, predictions, upstream, create_graph=torch.is_grad_enabled()
            )
        else:
            slope.mul_(upstream.unsqueeze(ctx.axis))
        return None, None, None, slope, None, None


def total(terms: Callable[..., torch.Tensor], axis: int, *tensors: torch.Tensor) -> torch.Tensor:
    return terms(*tensors).sum(axis)


def extremes(x: torch.Tensor) -> torch.Tensor:
    return torch.stack(torch.aminmax(x)) if x.numel() else x


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return upstream, None, None


def bounded(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    if is_eager(x) and x.numel():
        least, greatest = torch.aminmax(x.detach())
        if low <= least and greatest <= high:
            return x  # to read it costs less than to write it again
    return _Bounded.apply(x, low, high)


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(y, z)
        ctx.tail = z.abs().neg_().sigmoid_()  # σ(−|z|), without which 1 − σ would lose its digits
        # y z − max(z, 0), exact where they cancel, + log σ(|z|)
        return ctx.tail.neg().log1p_().sub_(z.clamp(min=0).addcmul_(y, z, value=-1))

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        y, z = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated in its turn
            slope = (y * torch.sigmoid(-z) - (1 - y) * torch.sigmoid(z)) * upstream
        else:
            # y − [z > 0], exact where they cancel, + sign(z) σ(−|z|)
            sign = z.sign()
            slope = y.add(sign, alpha=-0.5).sub_(0.5).addcmul_(sign, ctx.tail).mul_(upstream)
        return z * upstream if ctx.needs_input_grad[0] else None, slope


def log_likelihood(
    y: torch.Tensor, z: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    if weight is None:
        return _LogLikelihood.apply(y, z)
    logsigmoid = torch.nn.functional.logsigmoid
    return weight * y * logsigmoid(z) + (1 - y) * logsigmoid(-z)


def log_softmax(x: torch.Tensor, axis: int, indices: torch.Tensor | None = None) -> torch.Tensor:
    limits = torch.finfo(x.dtype)
    whole = torch.log_softmax(bounded(x, limits.min, limits.max), axis)
    return whole if indices is None else picked(whole, indices, axis)


def picked(x: torch.Tensor, indices: torch.Tensor, axis: int) -> torch.Tensor:
    return x.gather(axis, indices.long().unsqueeze(axis)).squeeze(axis)


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int16)


def from_bits(bits: torch.Tensor) -> torch.Tensor:
    return bits.view(torch.float32)


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
