"""Losses on PyTorch: large ones in blocks of samples, which stay in the processor's cache."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from keras_optim_losses.backend.labels import marked
from keras_optim_losses.backend.torch import is_eager

# A loss of more than so many entries is computed in blocks of samples of about so many: there the
# memory that is not touched again outweighs the time that the blocks' operations take to start.
LARGE_LOSS, LOSS_BLOCK = 2**22, 2**20


class _Infinities(threading.local):
    """Logits of ±inf are looked for in the values, of which there are few, and not before."""

    awaited = False  # whether that is so now
    overlooked = False  # whether some may have been let through

    @contextlib.contextmanager
    def await_them(self, awaited: bool) -> Iterator[None]:
        before = self.awaited, self.overlooked  # of a loss whose formula calls this one
        self.awaited, self.overlooked = awaited, False
        try:
            yield
        finally:
            self.awaited, self.overlooked = before


_infinities = _Infinities()


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
        with _infinities.await_them(is_eager(predictions)):
            values = function(labels, predictions, weights, mask)
            overlooked = _infinities.overlooked
        # An infinite logit either changes neither value nor gradient, or leaves no finite sum.
        if overlooked and not math.isfinite(values.detach().sum().item()):
            with _infinities.await_them(False):
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


def total(
    terms: Callable[..., torch.Tensor],
    axis: int,
    *tensors: torch.Tensor,
    valid: Callable[[Any], Any] | None = None,
    shift: torch.Tensor | None = None,
) -> torch.Tensor:
    if shift is not None:
        labels, first, *others = tensors
        tensors = (labels, first - shift, *others)
    return marked(terms, valid)(*tensors).sum(axis)


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


def finite(x: torch.Tensor, largest: float) -> torch.Tensor:
    if _infinities.awaited:
        _infinities.overlooked = True
        return x
    return bounded(x, -largest, largest)


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(y, z)
        # −σ(−|z|), without which 1 − σ would lose its digits
        ctx.tail = z.abs().neg_().sigmoid_().neg_()
        # y z − max(z, 0), exact where they cancel, + log σ(|z|)
        return ctx.tail.log1p().sub_(z.clamp(min=0).addcmul_(y, z, value=-1))

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        y, z = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated in its turn
            slope = (y * torch.sigmoid(-z) - (1 - y) * torch.sigmoid(z)) * upstream
        else:
            # y − [z > 0], exact where they cancel, + sign(z) σ(−|z|)
            sign = z.sign()
            slope = y.add(sign, alpha=-0.5).sub_(0.5).addcmul_(sign, ctx.tail, value=-1)
            slope.mul_(upstream)
        return z * upstream if ctx.needs_input_grad[0] else None, slope


def log_likelihood(
    y: torch.Tensor, z: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    if weight is None:
        return _LogLikelihood.apply(y, z)
    logsigmoid = torch.nn.functional.logsigmoid
    return weight * y * logsigmoid(z) + (1 - y) * logsigmoid(-z)


def log_softmax_parts(x: torch.Tensor, axis: int) -> tuple[torch.Tensor, None]:
    return torch.log_softmax(finite(x, torch.finfo(x.dtype).max), axis), None


def log_softmax(x: torch.Tensor, axis: int, indices: torch.Tensor) -> torch.Tensor:
    whole, _ = log_softmax_parts(x, axis)
    return picked(whole, indices, axis)


def picked(x: torch.Tensor, indices: torch.Tensor, axis: int) -> torch.Tensor:
    return x.gather(axis, indices.long().unsqueeze(axis)).squeeze(axis)
