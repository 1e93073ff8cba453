"""Labels that are not valid, in sums of a compiled function, which cannot raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops


def marked(terms: Callable[..., Any], valid: Callable[[Any], Any] | None) -> Callable[..., Any]:
    """`terms(labels, …)`, entry by entry, with NaN and no gradient where a label is not valid."""
    if valid is None:
        return terms

    def function(labels: Any, *others: Any) -> Any:
        good = valid(labels)
        clean = ops.where(good, labels, ops.zeros_like(labels))
        return ops.where(good, terms(clean, *others), float("nan"))

    return function
