"""Rounding at random: to one of the two neighbours in a half type, and right on the average."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_optim_losses import backend

#: The bits of a type's fraction, and its smallest normal number.
FRACTION = {"float16": (10, 2.0**-14), "bfloat16": (7, 2.0**-126)}
#: The bits of float32's exponent.
EXPONENT = 0x7F800000
#: An odd number that spreads places over all bits: 2³² over the golden ratio.
GOLDEN = 0x9E3779B9 - 2**32


def mixed(bits: Any) -> Any:
    """Integers whose every bit depends on every bit of those given (Wellons' lowbias32).

    Args:
        bits: an int32 tensor of any shape.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        bits = ops.bitwise_xor(bits, _shifted(bits, shift)) * factor
    return ops.bitwise_xor(bits, _shifted(bits, 16))


def _shifted(bits: Any, by: int) -> Any:
    # The sign is shifted in, too.
    return ops.bitwise_and(ops.right_shift(bits, by), 2 ** (32 - by) - 1)


def rounded(x: Any, dtype: str, salt: Any) -> Any:
    """x in a half type, rounded up with the probability p that keeps it right on the average.

        p = (x − low) / (high − low)

    The random number is mixed from the salt, the entry's place in x and its bits: it is the same on
    every replica, and when a step is run again.

    Args:
        x: a float32 tensor of any shape.
        dtype: float16 or bfloat16.
        salt: an int32 scalar, another one in each step.
    """
    digits, smallest = FRACTION[dtype]
    bits = backend.bits(x)
    place = ops.reshape(ops.arange(ops.size(x), dtype="int32"), ops.shape(x))
    random = ops.bitwise_and(mixed(ops.bitwise_xor(bits + place * GOLDEN, salt)), 0xFFFF)
    # 2ᵉ ≤ |x| < 2ᵉ⁺¹; below the normal numbers the spacing stays that of the smallest
    power = ops.maximum(backend.from_bits(ops.bitwise_and(bits, EXPONENT)), smallest)
    steps = ops.floor(x / power * 2**digits + ops.cast(random, "float32") * 2**-16)
    return ops.cast(ops.where(ops.isfinite(x), steps / 2**digits * power, x), dtype)
