"""The gradient of an embedding, which only some rows of the weight have."""

from __future__ import annotations

from typing import Any, NamedTuple


class Rows(NamedTuple):
    """A gradient that is zero but for some rows.

    values: (n, …), the gradient of each of these rows.
    indices: (n,), which rows they are. An index beyond the weight is padding.
    """

    values: Any
    indices: Any

    @property
    def dtype(self) -> Any:
        return self.values.dtype
