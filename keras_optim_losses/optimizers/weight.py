"""A weight and its state, as an optimizer keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from keras import ops

from keras_optim_losses import backend
from keras_optim_losses.optimizers import checks


@dataclass(eq=False)
class Weight:
    """A weight, and the state that belongs to it."""

    variable: Any
    dtype: str
    decays: bool
    state: dict[str, Any] = field(default_factory=dict)
    overwritten: bool = field(init=False)  # by its gradient, in the place of an update

    def __post_init__(self) -> None:
        self.overwritten = getattr(self.variable, "overwrite_with_gradient", False)

    @property
    def value(self) -> Any:
        """The weight as it is now, in the type in which it is computed."""
        value = ops.convert_to_tensor(self.variable)
        if "float32_copy" in self.state:
            return unrounded(value, ops.convert_to_tensor(self.state["float32_copy"]))
        return ops.cast(value, self.dtype)


def unrounded(weight: Any, copy: Any) -> Any:
    """A half-precision weight with the digits of its float32 copy.

    The copy is the weight, unless somebody has assigned another value to the weight; and before the
    first update, when it is zero still.
    """
    nearest = backend.bits(ops.cast(copy, checks.dtype(weight)))
    untouched = ops.equal(nearest, backend.bits(weight))
    return ops.where(untouched, copy, ops.cast(weight, checks.dtype(copy)))


def at_least_float32(dtype: str) -> str:
    """The type in which weights of this one are computed."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype
