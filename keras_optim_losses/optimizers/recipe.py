"""How one weight is updated: all that happens to it, in its order.

These are the functions of an `Optimizer` that know neither its other weights nor the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from keras_optim_losses import backend
from keras_optim_losses.optimizers import checks
from keras_optim_losses.optimizers.rounding import rounded
from keras_optim_losses.optimizers.step import Step
from keras_optim_losses.optimizers.weight import Weight, unrounded


class Recipe(NamedTuple):
    """How a weight is updated; weights that share a recipe can be updated together."""

    dtype: str  # in which it is computed
    weight_dtype: str
    copied: bool = False  # has a float32 copy
    by_rows: bool = False  # rows without gradient stay as they are
    has_gradient: bool = False
    decays: bool = False
    averages: bool = False
    constraint: Callable[[Any], Any] | None = None


def has_copy(optimizer: Any, weight: Weight) -> bool:
    """Whether a float32 copy of the weight is among its state."""
    return checks.dtype(weight.variable) != weight.dtype and not optimizer.stochastic_rounding


def recipes(optimizer: Any, weight: Weight, has_gradient: bool, by_rows: bool) -> list[Recipe]:
    """How this weight is updated, in one go or two."""
    averages = optimizer.use_ema and not weight.overwritten
    plain = Recipe(weight.dtype, checks.dtype(weight.variable), copied=has_copy(optimizer, weight))
    if not has_gradient:
        return [plain._replace(averages=averages)] if averages else []
    constraint = weight.variable.constraint
    whole = plain._replace(
        has_gradient=True, decays=weight.decays, averages=averages, constraint=constraint
    )
    rests = not optimizer.moves_without_gradient and not weight.decays
    if by_rows and optimizer.elementwise and (rests or optimizer.lazy):
        rows = whole._replace(by_rows=True, averages=False, constraint=None)
        after = plain._replace(averages=averages, constraint=constraint)
        return [rows, after] if averages or constraint is not None else [rows]
    return [whole]


def in_place(optimizer: Any, recipe: Recipe, scalars: dict[str, Any]) -> Callable[..., Any] | None:
    """All of `updated` as steps in place; None where that cannot be.

    They name places: that of the weight, of its state in the order of `state_of`, and last that of
    the gradient.
    """
    plain = Recipe(recipe.dtype, recipe.dtype, has_gradient=True)
    others = (
        optimizer.clipvalue,
        optimizer.loss_scale_factor,
        optimizer.gradient_accumulation_steps,
        optimizer.skip_nonfinite,
        optimizer.ema_overwrite_frequency if recipe.averages else None,
    )
    alike = recipe._replace(by_rows=False, decays=False, averages=False) == plain
    if not alike or any(others) or not _says_what_the_rule_says(type(optimizer)):
        return None
    if optimizer.in_place(Step(**scalars)) is None:
        return None
    names = ["weight", *optimizer.slots, *(["average"] if recipe.averages else []), "gradient"]
    places = {name: place for place, name in enumerate(names)}

    def steps(scalars: dict[str, Any]) -> list[Any]:
        step = Step(**scalars)
        found = [
            # w ← w − ηλw
            *([backend.Sum("weight", 1, "weight", -step["decay"])] if recipe.decays else []),
            *optimizer.in_place(step),
        ]
        if recipe.averages:
            # a ← μa + (1 − μ)w
            shares = step["average_kept"], step["average_new"]
            found.append(backend.Sum("average", shares[0], "weight", shares[1]))
        return [
            type(each)(*(places[x] if isinstance(x, str) else x for x in each)) for each in found
        ]

    return steps


def _says_what_the_rule_says(cls: type) -> bool:
    """Whether `in_place` is as new as the rule, which a subclass may change alone."""
    for each in cls.__mro__:
        if "in_place" in vars(each):
            return True
        if vars(each).keys() & {"rule", "scalars", "slots"}:
            return False
    return False


def state_of(optimizer: Any, weight: Weight, recipe: Recipe) -> list[Any]:
    """The state that `updated` takes and gives, in its order."""
    accumulates = recipe.has_gradient and optimizer.gradient_accumulation_steps
    names = [
        *(["gradient_accumulator"] if accumulates else []),
        *(optimizer.slots if recipe.has_gradient else []),
        *(["average"] if recipe.averages else []),
        *(["float32_copy"] if recipe.copied else []),
    ]
    return [weight.state[name] for name in names]


def accumulated(optimizer: Any, scalars: Any, old: list[Any], inputs: Sequence[Any]) -> list[Any]:
    """The accumulator with another gradient added."""
    return [old[0] + unscaled(optimizer, ops.cast(inputs[0], checks.dtype(old[0])))]


def updated(
    optimizer: Any, recipe: Recipe, scalars: dict[str, Any], old: list[Any], inputs: Sequence[Any]
) -> list[Any]:
    """New values of one weight and its state, in the order of `state_of`."""
    step = Step(**scalars)
    weight, state = old[0], list(old[1:])
    after: list[Any] = []
    if recipe.copied:
        weight = unrounded(weight, state.pop())
    elif recipe.weight_dtype != recipe.dtype:
        weight = ops.cast(weight, recipe.dtype)
    before = weight
    average = state.pop() if recipe.averages else None

    if recipe.has_gradient:
        inputs = list(inputs)
        if optimizer.gradient_accumulation_steps:
            total = state.pop(0)
            gradient = total / step["count"]
            after.append(ops.zeros_like(total))
        else:
            gradient = unscaled(optimizer, ops.cast(inputs.pop(0), recipe.dtype))
        if inputs:
            gradient = gradient * inputs[0]
        elif optimizer.clipvalue is not None:
            gradient = ops.clip(gradient, -optimizer.clipvalue, optimizer.clipvalue)
        if recipe.decays:
            # w ← w − ηλw
            weight = weight - step["decay"] * weight
        result = optimizer.rule(step, weight, gradient, *state)
        weight, *slots = checks.result(optimizer, result, weight, state)
        after += slots
    if recipe.averages:
        # a ← μa + (1 − μ)w
        average = step["average_kept"] * average + step["average_new"] * weight
        after.append(average)
        if optimizer.ema_overwrite_frequency:
            weight = ops.where(step["overwrite"], average, weight)
    if recipe.constraint is not None:
        weight = recipe.constraint(weight)
    if recipe.copied:
        after.append(weight)
    if optimizer.skip_nonfinite:
        # The accumulator, which is the first where there is one, starts afresh all the same.
        accumulates = recipe.has_gradient and optimizer.gradient_accumulation_steps
        kept = slice(1 if accumulates else 0, None)
        weight = ops.where(step["finite"], weight, before)
        after[kept] = [
            ops.where(step["finite"], new, prior) for new, prior in zip(after[kept], old[1:][kept])
        ]
    if optimizer.gradient_accumulation_steps:
        weight = ops.where(step["complete"], weight, before)
        after = [ops.where(step["complete"], new, prior) for new, prior in zip(after, old[1:])]
    if recipe.weight_dtype != recipe.dtype and not recipe.copied:
        return [rounded(weight, recipe.weight_dtype, step["salt"]), *after]
    return [ops.cast(weight, recipe.weight_dtype), *after]


def unscaled(optimizer: Any, gradient: Any) -> Any:
    """The gradient of the loss, where that of a multiple was taken."""
    factor = optimizer.loss_scale_factor
    return gradient if factor is None else gradient / factor
