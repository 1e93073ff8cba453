"""Clipping by norms: by what gradients are multiplied."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_optim_losses import backend
from keras_optim_losses.optimizers import checks
from keras_optim_losses.optimizers.step import larger


def factors(optimizer: Any, gradients: list[tuple[Any, str]], count: Any) -> list[Any]:
    """By what each gradient is multiplied so that norms are held; nothing without a limit.

    Args:
        gradients: with their types, scaled by the loss's factor or summed over `count` calls.
        count: of calls; None where nothing accumulates.
    """
    if optimizer.clipnorm is None and optimizer.global_clipnorm is None:
        return []
    divisor = count if count is not None else optimizer.loss_scale_factor or 1.0
    squares = [backend.squared_norm(gradient, dtype) for gradient, dtype in gradients]
    if optimizer.clipnorm is not None:
        norms = [ops.sqrt(square) / ops.cast(divisor, checks.dtype(square)) for square in squares]
        # c / max(‖g‖, c)
        return [optimizer.clipnorm / larger(norm, optimizer.clipnorm) for norm in norms]
    dtype = "float64" if any(checks.dtype(square) == "float64" for square in squares) else "float32"
    total = sum(ops.cast(square, dtype) for square in squares)
    norm = ops.sqrt(total) / ops.cast(divisor, dtype)
    # norm − norm turns an infinite or NaN norm into NaN for every weight, as in Keras.
    factor = optimizer.global_clipnorm / larger(norm, optimizer.global_clipnorm) + (norm - norm)
    return [ops.cast(factor, checks.dtype(square)) for square in squares]
