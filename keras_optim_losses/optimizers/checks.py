"""Checks of what an optimizer is handed: weights, gradients, state, and what a rule returns.

Each raises a ValueError that says what was received and what to do. They come before anything is
changed, and look at types and shapes, which cost nothing; only the rows of an embedding's gradient
are looked at by value, in an eager call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_optim_losses import arguments, backend

ANOTHER = "Make a new optimizer for another model, or for another set of trainable weights."


def path(variable: Any) -> str:
    """A weight's name with those of the layers that it is in."""
    return getattr(variable, "path", variable.name)


def dtype(variable: Any) -> str:
    """A weight's or a tensor's type by its name in Keras."""
    return keras.backend.standardize_dtype(variable.dtype)


def trainable(variables: Sequence[Any]) -> None:
    """These are weights, and of a type that can be trained."""
    for variable in variables:
        if not hasattr(variable, "assign"):
            raise ValueError(
                f"Weights must be variables, as in `model.trainable_variables`. Received: "
                f"{type(variable).__name__}. In `apply` the gradients come first and the weights "
                f"after them."
            )
        if "float" not in dtype(variable):
            raise ValueError(
                f"Only weights of a float type can be trained. Received: {path(variable)} of dtype "
                f"{dtype(variable)}. Leave it out."
            )


def once(variables: Sequence[Any], keys: Sequence[Any]) -> None:
    """Each of these weights is given once. `keys` are theirs in the backend."""
    if len(set(keys)) < len(variables):
        paths = [path(variable) for variable in variables]
        twice = next((name for name in paths if paths.count(name) > 1), paths[0])
        raise ValueError(
            f"Each weight must be given once. Received: {twice} more than once. Add its gradients "
            f"up."
        )


def gradient(given: Any, variable: Any) -> Any:
    """A gradient as `backend.gradient` makes it, of the shape of its weight."""
    expected = tuple(variable.shape)
    if ops.is_tensor(given) and arguments.is_real(given.dtype):
        made = backend.gradient(given)
    else:
        made = arguments.tensor(f"The gradient of {path(variable)}", given, backend.gradient)
    by_rows = isinstance(made, backend.Rows)
    shape = (None, *made.values.shape[1:]) if by_rows else tuple(made.shape)
    if not arguments.agree(shape, expected):
        raise ValueError(
            f"A gradient must have the shape of its weight. Received shape {shape} for "
            f"{path(variable)} of shape {expected}."
        )
    if by_rows and backend.is_eager(made.indices):
        inside = ops.logical_and(made.indices >= 0, made.indices < expected[0])
        if not bool(ops.all(inside)):
            wrong = ops.convert_to_numpy(made.indices)[~ops.convert_to_numpy(inside)][0]
            raise ValueError(
                f"A gradient must be of rows that the weight has. Received: row {wrong} for "
                f"{path(variable)}, whose rows are 0 to {expected[0] - 1}."
            )
    return made


def like(name: str, tensors: Sequence[Any], variables: Sequence[Any]) -> None:
    """There is a tensor for each of these variables, of its shape."""
    received = [tuple(tensor.shape) for tensor in tensors]
    expected = [tuple(variable.shape) for variable in variables]
    if received != expected:
        raise ValueError(
            f"`{name}` must be {len(expected)} tensors of shapes {expected}, as the optimizer was "
            f"built for. Received: {len(received)} of shapes {received}. {ANOTHER}"
        )


def saved(state: Mapping[str, Any]) -> None:
    """Arrays by name, from a file, are of numbers and of names that this version knows.

    What belongs to a weight (`"0.momentum"`) is compared with the weights elsewhere.
    """
    for name, array in state.items():
        if name in ("iteration", "learning_rate"):
            wrong = "is not a number, 0 or more"
            fits = array.shape == () and array.dtype.kind in "iuf" and 0 <= array < math.inf
            if name == "iteration":
                wrong = "is not a whole number from 0 to 2**31 − 2"
                fits = fits and array < 2**31 - 1 and array % 1 == 0
        elif name[0].isdigit() or name.startswith("variable."):
            wrong, fits = "is no array of real numbers", array.dtype.kind not in "cmMOSU"
        else:
            wrong, fits = "is not known to this version of keras_optim_losses", False
        if not fits:
            raise ValueError(
                f"The saved state cannot be used: its entry {name!r} {wrong}. Received: "
                f"{array!r:.100}. Load another file, or compile after loading the weights to start "
                f"with fresh state."
            )


def slots(optimizer: Any) -> None:
    """The optimizer's `slots` are names, and not the letters of one."""
    if isinstance(optimizer.slots, str):
        raise ValueError(
            f"`{type(optimizer).__name__}.slots` must be a tuple of names; one name takes a comma: "
            f"({optimizer.slots!r},)."
        )


def result(optimizer: Any, given: Any, weight: Any, slots: Sequence[Any]) -> list[Any]:
    """What `rule` has returned as a list: the new weight and its new slots, shaped as they were."""
    new = list(given) if isinstance(given, (tuple, list)) else [given]
    shape = tuple(weight.shape)
    shapes = [tuple(x.shape) if hasattr(x, "shape") else type(x).__name__ for x in new]
    fit = [not isinstance(found, str) and arguments.agree(found, shape) for found in shapes]
    if len(new) != 1 + len(slots) or not all(fit):
        names = ", ".join(optimizer.slots) or "no more, for there are no slots"
        raise ValueError(
            f"`{type(optimizer).__name__}.rule` must return the new weight and {names}, each of "
            f"the weight's shape {shape}. Received: {shapes}"
        )
    return new
