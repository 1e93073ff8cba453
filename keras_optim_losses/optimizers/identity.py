"""Whose state a file or a checkpoint holds, which must agree before any of it is taken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple


class Identity(NamedTuple):
    """What tells the state of one optimizer from that of another.

    writer: the class, by its registered name.
    shared: names of the state that belongs to no weight, as far as arguments decide on it.
    weights: their shapes; none before they are known.
    entries: names and shapes of the state of the weights, such as `"0.momentum"`.
    """

    writer: str
    shared: list[str]
    weights: list[list[int]]
    entries: dict[str, list[int]]

    def text(self) -> str:
        """All of it, for a file."""
        return json.dumps(self._asdict())

    @classmethod
    def of_text(cls, text: str | bytes) -> Identity:
        """What `text` has given.

        Raises:
            ValueError: it has not, at least not that of this version.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            raise ValueError(
                f"The saved state cannot be used: this version of keras_optim_losses does not know "
                f"what it says of itself. Received: {text!r:.100}. Load another file, or compile "
                f"after loading the weights to start with fresh state."
            ) from None

    def check(self, own: Identity) -> None:
        """Raise a ValueError unless saved state of this identity is that of the optimizer."""
        if self == own:
            return
        raise ValueError(
            f"The saved state is not that of this {own.writer.split('>')[-1]}: it was saved by a "
            f"{self.writer} and holds {len(self.entries)} entries ({_kinds(self.entries)}), and "
            f"{len(own.entries)} ({_kinds(own.entries)}) are needed.{self._difference(own)} Load "
            f"it into an optimizer of the class, the arguments and the model that it was saved "
            f"with, or compile after loading the weights to start with fresh state."
        )

    def _difference(self, own: Identity) -> str:
        """The first one, where the numbers of entries need not tell."""
        if len(self.weights) != len(own.weights):
            return f" It is for {len(self.weights)} weights, not {len(own.weights)}."
        found = {f"weight {i}": shape for i, shape in enumerate(self.weights)} | self.entries
        expected = {f"weight {i}": shape for i, shape in enumerate(own.weights)} | own.entries
        for name, shape in found.items():
            if expected.get(name, shape) != shape:
                return f" The shape of {name} is {tuple(shape)}, not {tuple(expected[name])}."
        if self.shared != own.shared:
            return f" For all weights it has {self.shared}, not {own.shared}."
        return ""


def _kinds(names: Iterable[str]) -> str:
    return ", ".join(sorted({name.partition(".")[2] for name in names})) or "nothing"
