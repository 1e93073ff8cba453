"""Checks of what a user passes: the error names the argument, the range and the value received."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import keras
import numpy as np
from keras import ops


def _number(value: Any) -> Any:
    """`value` as an array of one real number; None where it is something else."""
    try:
        array = np.asarray(value)
    except Exception:  # a ragged list, a symbolic tensor, …: each has an error of its own
        return None
    return array if array.ndim == 0 and array.dtype.kind in "iuf" else None


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
    array = _number(value)
    if array is not None:
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
    array = _number(value)
    if array is not None and array >= at_least and array % 1 == 0:
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
    if is_sequence(value):
        return [number(f"{name}[{i}]", entry, interval) for i, entry in enumerate(value)]
    raise ValueError(
        f"`{name}` must be a flat sequence of numbers in {interval}, one a class. "
        f"Received: {name}={value!r}"
    )


def is_sequence(value: Any) -> bool:
    """Whether `value` is several things in an order: a list, a tuple, an array with axes."""
    if isinstance(value, (list, tuple)):
        return True
    return len(getattr(value, "shape", ())) > 0


def one_of(name: str, value: Any, choices: Sequence[str | None]) -> Any:
    """Return `value` after checking that it is among `choices`."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        among = ", ".join(map(repr, choices))
        raise ValueError(f"`{name}` must be one of {among}. Received: {name}={value!r}")
    return value


def optional_name(name: str, value: Any) -> str | None:
    """Return `value` after checking that it can be a name of Keras; None where it is None."""
    if value is None or isinstance(value, str) and value and "/" not in value:
        return value
    raise ValueError(f"`{name}` must be a string without a '/'. Received: {name}={value!r}")


def rate(name: str, value: Any) -> Any:
    """Return a learning rate, checked as far as it can be before it is used.

    Args:
        name: the argument's name.
        value: a number ≥ 0, a `LearningRateSchedule`, or a function without arguments.
    """
    if isinstance(value, type):
        raise ValueError(
            f"`{name}` must be a number, a schedule or a function. Received the class "
            f"{value.__name__}: make an instance of it, {value.__name__}(…)."
        )
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    if not callable(value):
        return number(name, value, "[0, inf)")
    try:
        inspect.signature(value).bind()
    except TypeError as error:
        raise ValueError(
            f"`{name}` may be a function without arguments. Received: {value!r} ({error}). For a "
            f"rate that depends on the step give a `keras.optimizers.schedules` instance."
        ) from error
    return value


def listed(name: str, value: Any, of: str) -> list[Any]:
    """Return `value` as a list after checking that it is several things and not a single one.

    Args:
        name: the argument's name.
        value: what the user gave.
        of: what it should hold, for the error.
    """
    # A tensor or a variable would be taken apart into its rows.
    if isinstance(value, (str, Mapping)) or hasattr(value, "shape"):
        whole = True
    else:
        whole = not isinstance(value, Iterable)
    if whole:
        raise ValueError(f"`{name}` must be a list of {of}. Received: {type(value).__name__}")
    return list(value)


def tensor(name: str, value: Any, convert: Callable[[Any], Any] = ops.convert_to_tensor) -> Any:
    """Return `value` as a tensor of real numbers, or an error that names it.

    Args:
        name: what it is, for the error.
        value: what the user gave.
        convert: makes a tensor of it.
    """
    try:
        made = convert(value)
    except Exception as error:  # each backend has several of its own
        reason = (str(error).splitlines() or [""])[0][:100]
        raise ValueError(
            f"{name} must be a tensor of numbers, or an array or list that can be one. Received: "
            f"{type(value).__name__} ({reason})"
        ) from error
    if not is_real(made.dtype):
        dtype = keras.backend.standardize_dtype(made.dtype)
        raise ValueError(f"{name} must be a tensor of real numbers. Received: dtype {dtype}")
    return made


def is_real(dtype: Any) -> bool:
    """Whether a tensor's type, by the backend or by name, is one of real numbers."""
    name = keras.backend.standardize_dtype(dtype)
    return name.startswith(("float", "bfloat", "int", "uint", "bool"))


Shape = tuple[int | None, ...]


def agree(shape: Shape, other: Shape) -> bool:
    """Whether two shapes can be the same; None is a size that is not known yet."""
    return len(shape) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(shape, other)
    )


def configuration(name: str, value: Any) -> dict[str, Any]:
    """Return a copy of a class's configuration after checking that it is a dictionary."""
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(
        f"The configuration of {name} must be a dictionary, as `get_config()` gives. "
        f"Received: {value!r}"
    )


def unknown(cls: type, given: Iterable[str], known: Iterable[str]) -> NoReturn:
    """Raise the error for arguments that `cls` does not have."""
    raise ValueError(
        f"{cls.__name__} has no argument {', '.join(map(repr, given))}. Its arguments are: "
        f"{', '.join(dict.fromkeys(known))}. If it comes from a saved configuration, a newer "
        f"version of the package has written that: update keras_optim_losses."
    )


def kept(instance: Any, names: Iterable[str]) -> dict[str, Any]:
    """The constructor arguments that an instance keeps as attributes of the same names."""
    missing = [name for name in names if not hasattr(instance, name)]
    if missing:
        cls = type(instance).__name__
        raise ValueError(
            f"{cls} cannot be saved: its constructor takes `{missing[0]}`, but keeps no attribute "
            f"of that name. Write self.{missing[0]} = {missing[0]} there."
        )
    return {name: getattr(instance, name) for name in names}


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
