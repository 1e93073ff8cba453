"""Checks of what a user passes: the error names the argument, the range and the value received."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np


def number(name: str, value: Any, interval: str) -> float:
    """Return `value` as a float after checking that it is a number in `interval`.

    Args:
        name: the argument's name, for the error.
        value: a Python or NumPy number, whole or not; no boolean, no string.
        interval: bounds in the usual notation, such as `"[0, 1)"` or `"(0, inf)"`.

    Raises:
        ValueError: `value` is no number, NaN, or outside the interval.
    """
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "iuf":
        above = array >= low if interval[0] == "[" else array > low
        below = array <= high if interval[-1] == "]" else array < high
        if above and below:
            return float(array)
    raise ValueError(f"`{name}` must be a number in {interval}. Received: {name}={value!r}")


def optional_number(name: str, value: Any, interval: str) -> float | None:
    """`number`, or None where the user gave None."""
    return None if value is None else number(name, value, interval)


def whole_number(name: str, value: Any, at_least: float = -math.inf) -> int:
    """Return `value` as an int after checking that it is a whole number, `at_least` or more."""
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "iuf" and array >= at_least and array % 1 == 0:
        return int(array)
    more = "" if at_least == -math.inf else f", {at_least} or more"
    raise ValueError(f"`{name}` must be a whole number{more}. Received: {name}={value!r}")


def optional_whole_number(name: str, value: Any, at_least: float = -math.inf) -> int | None:
    """`whole_number`, or None where the user gave None."""
    return None if value is None else whole_number(name, value, at_least)


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool after checking that it is True or False."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")


def optional_numbers(name: str, value: Any, interval: str) -> list[float] | None:
    """Return `value` as a list of floats after checking each of them; None where it is None."""
    if value is None:
        return None
    if isinstance(value, (str, bytes, dict)) or np.ndim(value) != 1:
        raise ValueError(
            f"`{name}` must be a flat sequence of numbers in {interval}, one a class. "
            f"Received: {name}={value!r}"
        )
    return [number(f"{name}[{i}]", entry, interval) for i, entry in enumerate(value)]


def constructor_names(cls: type, base: type) -> list[str]:
    """The named constructor arguments of `cls` and its parents up to, but without, `base`.

    An object that keeps each of them as an attribute of the same name needs no `get_config` of
    its own.
    """
    names: list[str] = []
    for parent in cls.__mro__[: cls.__mro__.index(base)]:
        if "__init__" in vars(parent):
            for parameter in inspect.signature(vars(parent)["__init__"]).parameters.values():
                named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
                if named and parameter.name != "self" and parameter.name not in names:
                    names.append(parameter.name)
    return names
