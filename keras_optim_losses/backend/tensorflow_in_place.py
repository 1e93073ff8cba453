"""Steps in place on TensorFlow: kernels that make all the steps of a rule in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_optim_losses.backend.in_place import InPlace, Moments, Sum


class Kernel(NamedTuple):
    """What makes the steps for one weight, by `call(numbers, group, [gradient])`."""

    call: Callable[[dict[str, Any], list[Any], Sequence[Any]], None]
    numbers: dict[str, Any]
    for_tiny: bool = False  # whether it is faster than a compiled rule for tiny weights alone


def kernel_for(steps: Sequence[InPlace], gradient: int, dtype: tf.DType) -> Kernel | None:
    """The kernel for these steps; None where there is none.

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
        case [Moments(largest=None, epsilon=float()) as step]:
            # m + (1 − β)(g − m), as the kernel has it, loses digits of g where β is small.
            if min(step.beta_1, step.beta_2) >= 0.5:
                return Kernel(_moments, _rate_and_epsilon(step, dtype), for_tiny=True)
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


def _rate_and_epsilon(step: Moments, dtype: tf.DType) -> dict[str, Any]:
    # The kernel has 1 − β of a β in the weights' type: so must have what corrects m and v.
    betas = [tf.constant(beta, dtype) for beta in (step.beta_1, step.beta_2)]
    t = tf.cast(step.t, tf.float64)
    correction_1, correction_2 = (1 - tf.cast(beta, tf.float64) ** t for beta in betas)
    root_2 = tf.sqrt(correction_2)
    rate = tf.cast(step.learning_rate, tf.float64) * root_2 / correction_1
    return {
        "lr": tf.cast(rate, dtype),  # corrected, and so no powers of β are needed
        "beta1_power": tf.zeros([], dtype),
        "beta2_power": tf.zeros([], dtype),
        "beta1": betas[0],
        "beta2": betas[1],
        "epsilon": tf.cast(step.epsilon * root_2, dtype),
    }


def _moments(numbers: dict[str, Any], group: list[Any], inputs: Sequence[Any]) -> None:
    [weight, momentum, velocity], [gradient] = group, inputs
    given = {"var": weight.handle, "m": momentum.handle, "v": velocity.handle}
    tf.raw_ops.ResourceApplyAdam(**given, grad=tf.cast(gradient, weight.dtype), **numbers)
