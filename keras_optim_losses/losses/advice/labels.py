"""What labels are: the numbers in them, and what their rows look like."""

from __future__ import annotations

import functools

import numpy as np

#: How far a row of probabilities may be from a sum of 1: many small numbers, rounded to half types.
ROW_TOLERANCE = 1e-2
#: Whole numbers up to so many are taken for classes by their look alone.
FEW = 20


class Labels:
    """Facts about an array of labels, each found when it is asked for.

    Args:
        values: the labels, of any shape; with rows where the last axis is longer than 1.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    @functools.cached_property
    def finite(self) -> np.ndarray:
        """Those that are neither NaN nor infinite, in one row."""
        flat = self.values.reshape(-1)
        return flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat

    @functools.cached_property
    def all_finite(self) -> bool:
        """Whether that is all of them."""
        return self.finite.size == self.values.size

    @functools.cached_property
    def distinct(self) -> np.ndarray:
        """The numbers that occur, in order."""
        return np.unique(self.finite)

    @functools.cached_property
    def low(self) -> float:
        """The smallest number."""
        return float(self.distinct[0])

    @functools.cached_property
    def high(self) -> float:
        """The largest number."""
        return float(self.distinct[-1])

    @functools.cached_property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return bool((np.mod(self.finite, 1) == 0).all()) if self.finite.dtype.kind == "f" else True

    def only(self, *numbers: float) -> bool:
        """Whether no other numbers occur."""
        return set(self.distinct.tolist()) <= set(numbers)

    @functools.cached_property
    def sums(self) -> np.ndarray:
        """The sums of the rows."""
        return self.values.astype("float64").sum(axis=-1)

    @functools.cached_property
    def rows(self) -> str:
        """`"one-hot"`, `"several"` (0 and 1, some rows with several or no 1), `"probabilities"`, or
        `""`: none of these."""
        if self.values.ndim < 2 or self.values.shape[-1] < 2 or not self.all_finite:
            return ""
        if self.only(0, 1):
            return "one-hot" if (self.sums == 1).all() else "several"
        if self.low >= 0 and self.high <= 1 and (np.abs(self.sums - 1) <= ROW_TOLERANCE).all():
            return "probabilities"
        return ""


def shares(classes: np.ndarray, count: int) -> np.ndarray:
    """The share of each of `count` classes among whole numbers from 0 to `count` − 1."""
    return np.bincount(classes.astype("int64"), minlength=count) / classes.size


def rarest(shares: np.ndarray, samples: int) -> int | None:
    """The rarest class that occurs, where it has under a tenth of an even share, else None.

    Of two classes that is 5%. There must be enough samples to tell: 100 a class.
    """
    if samples < 100 * len(shares):
        return None
    seen = np.flatnonzero(shares)
    least = int(seen[np.argmin(shares[seen])])
    return least if len(seen) > 1 and shares[least] * len(shares) < 0.1 else None


def shown(number: float) -> str:
    """A number as a message shows it: `3`, `0.25`, `1.24e+06`."""
    return f"{number:.3g}" if number % 1 or abs(number) >= 1e9 else f"{int(number)}"


def some(numbers: np.ndarray, at_most: int = 5) -> str:
    """The first few of some numbers."""
    text = ", ".join(shown(float(number)) for number in numbers[:at_most])
    return text + (", …" if len(numbers) > at_most else "")
