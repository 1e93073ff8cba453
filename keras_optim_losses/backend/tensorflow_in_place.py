"""Steps in place on TensorFlow: kernels that make all the steps of a rule in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_optim_losses.backend.in_place import InPlace, Sum


class Kernel(NamedTuple):
    """What makes the steps for one weight, by `call(numbers, group, [gradient])`."""

    call: Callable[[dict[str, Any], list[Any], Sequence[Any]], None]
    numbers: dict[str, Any]


def kernel_for(steps: Sequence[InPlace], gradient: int, dtype: tf.DType) -> Kernel | None:
    """The kernel for these steps; None where there is none.

    Adam's is left out: it has 1 − β₂ of a β₂ rounded to float32, and so v off by 1e-5; and those of
    Adagrad and RMSprop, which have ε outside the root, or a slot more.

    Args:
        steps: they name places in the group of a weight and its state, of which the weight is 0.
        gradient: the place by which they name the gradient.
        dtype: of the weights.
    """
    match list(steps):
        case [Sum(0, kept, source, share)]:
            if _is_one(kept) and source == gradient:
                return Kernel(_descent, {"alpha": tf.cast(-share, dtype)})
        case [Sum(1, kept, source, share), Sum(0, whole, 1, one)]:
            if _is_one(whole) and _is_one(one) and source == gradient:
                return Kernel(_velocity, _rate_and_momentum(kept, share, False, dtype))
        case [Sum(1, kept, source, share), Sum(0, whole, 1, again), Sum(0, one, last, same)]:
            ahead = _is_one(whole) and _is_one(one) and again is kept and same is share
            if ahead and source == last == gradient:
                return Kernel(_velocity, _rate_and_momentum(kept, share, True, dtype))
    return None


def _is_one(number: Any) -> bool:
    return not isinstance(number, tf.Tensor) and number == 1


def _descent(numbers: dict[str, Any], group: list[Any], inputs: Sequence[Any]) -> None:
    [weight], [gradient] = group, inputs
    given = {"var": weight.handle, "delta": tf.cast(gradient, weight.dtype)}
    tf.raw_ops.ResourceApplyGradientDescent(**given, **numbers)


def _rate_and_momentum(kept: float, share: Any, ahead: bool, dtype: tf.DType) -> dict[str, Any]:
    numbers = {"lr": tf.cast(-share, dtype), "momentum": tf.constant(kept, dtype)}
    return numbers | {"use_nesterov": ahead}


def _velocity(numbers: dict[str, Any], group: list[Any], inputs: Sequence[Any]) -> None:
    [weight, velocity], [gradient] = group, inputs
    given = {"var": weight.handle, "accum": velocity.handle}
    tf.raw_ops.ResourceApplyKerasMomentum(**given, grad=tf.cast(gradient, weight.dtype), **numbers)
