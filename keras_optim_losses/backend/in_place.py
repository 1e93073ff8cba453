"""What a backend can carry out in place: the steps that some rules come down to."""

from __future__ import annotations

from typing import Any, NamedTuple


class Sum(NamedTuple):
    """target ← kept · target + share · source.

    `target` and `source` say which tensors: names in an optimizer, places in an entry of `Update`.
    """

    target: Any
    kept: Any
    source: Any
    share: Any


class Moments(NamedTuple):
    """A step along the mean of gradients over the root of the mean of their squares.

        m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²
        w ← w − η · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

    The first five fields say which tensors are w, g, m, v and, unless it is None, the largest v so
    far, which then takes the place of v in the last line.
    """

    weight: Any
    gradient: Any
    momentum: Any
    velocity: Any
    largest: Any
    learning_rate: Any
    t: Any
    beta_1: float
    beta_2: float
    epsilon: Any


class Squares(NamedTuple):
    """A step along the gradient over the root of its squares, added up.

        h ← kept · h + share · g²
        w ← w − η · g / √(h + ε)

    The first three fields say which tensors are w, g and h.
    """

    weight: Any
    gradient: Any
    squares: Any
    learning_rate: Any
    kept: float
    share: float
    epsilon: float


InPlace = Sum | Moments | Squares
