"""Who inherits what: the family tree of the optimizers, drawn from the classes themselves.

    python examples/family_tree.py

What you will see: a box for each optimizer with its formula, what it remembers for each weight, and
what there is to tune; on each arrow the one line of the formula that changes from parent to child.

What can be read from the classes is read: formulas and years from their docstrings, the idea from
the first line of their file, what is remembered from the slots, the arguments and their defaults
from the constructors. What code cannot tell stands in `EDGES`: who descends from whom, and which
line it is that changes. Both sides of each arrow must be in the docstrings of the two classes, or
the script stops: the tree cannot say what the classes do not.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

import lesson
import numpy as np
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from keras_optim_losses import optimizers

# 1. What code cannot tell.


@dataclass(frozen=True)
class Edge:
    """From parent to child one line changes; `why` says what for."""

    parent: str
    child: str
    before: str
    after: str
    why: str


EDGES = (
    Edge(
        "GradientDescent",
        "SGD",
        "w ← w − ηḡ",
        "w ← w − ηg",
        "do not wait for all the data",
    ),
    Edge(
        "SGD",
        "Momentum",
        "w ← w − ηg",
        "v ← αv − ηg;  w ← w + v",
        "what gradients agree on adds up",
    ),
    Edge(
        "SGD",
        "Adagrad",
        "w ← w − ηg",
        "w ← w − ηg / √(h + ε)",
        "a rate for each weight",
    ),
    Edge(
        "Adagrad",
        "RMSprop",
        "h ← h + g²",
        "h ← ρh + (1 − ρ)g²",
        "forget, or all steps die out",
    ),
    Edge(
        "Momentum",
        "Adam",
        "w ← w − ηm",
        "w ← w − ηm̂ / (√v̂ + ε)",
        "averages gradients; a rate for each weight",
    ),
    Edge(
        "RMSprop",
        "Adam",
        "w ← w − ηg / d",
        "w ← w − ηm̂ / (√v̂ + ε)",
        "takes averaged gradients, all unbiased",
    ),
)

# How many lines of the formula in the docstring are the default; the rest are options.
DEFAULT_LINES = {
    "GradientDescent": 1,
    "SGD": 1,
    "Momentum": 1,
    "Adagrad": 2,
    "RMSprop": 3,
    "Adam": 5,
}


# 2. What the classes say.


@dataclass(frozen=True)
class Person:
    """An optimizer in the tree."""

    name: str
    year: str
    idea: list[str]
    formula: list[str]
    facts: list[str]


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width=58)


def public() -> list[type[optimizers.Optimizer]]:
    """The optimizers in the order of the story."""
    members = [getattr(optimizers, name) for name in optimizers.__all__]
    return [m for m in members if inspect.isclass(m) and m is not optimizers.Optimizer]


def formula_of(cls: type) -> list[str]:
    """The indented lines of the docstring above its arguments, without the remarks beside them."""
    head = inspect.getdoc(cls).partition("\nArgs:")[0]
    indented = [line.strip() for line in head.splitlines() if line.startswith("    ")]
    return [re.split(r" {3,}", line)[0] for line in indented]


def person(cls: type[optimizers.Optimizer]) -> Person:
    """Read a class.

    Raises:
        ValueError: `DEFAULT_LINES` does not know it.
    """
    name = cls.__name__
    if name not in DEFAULT_LINES:
        raise ValueError(f"{name} has no place in the tree: add it to DEFAULT_LINES and EDGES.")
    source = re.search(r"Source:.*?(\d{4})", inspect.getdoc(cls), re.S)
    idea = inspect.getmodule(cls).__doc__.partition(":")[2].partition("\n")[0].strip(" .")
    arguments = [
        f"{a.name}\N{NO-BREAK SPACE}{a.default:g}"
        for a in inspect.signature(cls).parameters.values()
        if isinstance(a.default, (int, float)) and not isinstance(a.default, bool)
    ]
    remembers = ", ".join(cls().slots) or "nothing"
    return Person(
        name,
        source.group(1) if source else "",
        wrapped(idea),
        formula_of(cls)[: DEFAULT_LINES[name]],
        [f"remembers: {remembers}", *wrapped("arguments: " + ", ".join(arguments))],
    )


def shared_arguments() -> str:
    """What every optimizer takes, from the constructor of their base."""
    parameters = inspect.signature(optimizers.Optimizer).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "name"]
    return "All of them take " + ", ".join(names) + "."


def check(edges: tuple[Edge, ...]) -> None:
    """See that both sides of each arrow stand in the docstrings.

    Raises:
        ValueError: one does not.
    """
    formulas = {cls.__name__: "\n".join(formula_of(cls)) for cls in public()}
    for edge in edges:
        for name, line in ((edge.parent, edge.before), (edge.child, edge.after)):
            if line not in formulas[name]:
                raise ValueError(
                    f"The formula of {name} has no {line!r}, which the arrow from {edge.parent} "
                    f"to {edge.child} shows. It is:\n{formulas[name]}"
                )


# 3. Where everybody stands: parents above their children, and between their parents.

BOX, SPREAD, GAP = 3.5, 4.9, 0.86  # inches


def generations(names: list[str], edges: tuple[Edge, ...]) -> dict[str, int]:
    """How many arrows lead to each, by the longest way."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            parents = [edge.parent for edge in edges if edge.child == name]
            depth[name] = 1 + max(map(of, parents)) if parents else 0
        return depth[name]

    return {name: of(name) for name in names}


def across(names: list[str], edges: tuple[Edge, ...]) -> dict[str, float]:
    """The middle of each box; siblings stand side by side."""
    depth = generations(names, edges)
    places: dict[str, float] = {}
    for generation in range(max(depth.values()) + 1):
        wanted: dict[float, list[str]] = {}
        for name in (name for name in names if depth[name] == generation):
            parents = [places[edge.parent] for edge in edges if edge.child == name]
            wanted.setdefault(sum(parents) / len(parents) if parents else 0.0, []).append(name)
        for middle, siblings in wanted.items():
            for i, name in enumerate(siblings):
                places[name] = middle + (i - (len(siblings) - 1) / 2) * SPREAD
    return places


# 4. Drawing.

LINE = 0.19  # inches


def rows(member: Person) -> list[tuple[str, dict[str, Any], float]]:
    """The lines of a box under its name: text, looks, and the space above it in inches."""
    small = {"fontsize": 8}
    looks = (
        (member.idea, {**small, "style": "italic"}, 0.02),
        (member.formula, {"fontsize": 10.5}, 0.07),
        (member.facts, {**small, "color": "#666666"}, 0.07),
    )
    return [
        (line, look, space if i == 0 else 0.0)
        for lines, look, space in looks
        for i, line in enumerate(lines)
    ]


def height(member: Person) -> float:
    return 0.4 + sum(LINE + space for _, _, space in rows(member))


def draw_person(axis: Axes, member: Person, x: float, top: float) -> None:
    colour = style.OPTIMIZERS[member.name].colour
    left, right, y = x - BOX / 2, x + BOX / 2, top - 0.2
    box = FancyBboxPatch(
        (left, top - height(member)),
        BOX,
        height(member),
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor="white",
        edgecolor=colour,
        linewidth=2,
    )
    axis.add_patch(box)
    text = {"va": "center", "zorder": 4}
    axis.text(left + 0.12, y, member.name, color=colour, fontsize=12, fontweight="bold", **text)
    axis.text(right - 0.12, y, member.year, color=colour, fontsize=10, ha="right", **text)
    for line, look, space in rows(member):
        y -= LINE + space
        axis.text(left + 0.12, y, line, **look, **text)


@dataclass(frozen=True)
class Frame:
    """Where a box is, in inches."""

    x: float
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def draw_edge(axis: Axes, edge: Edge, parent: Frame, child: Frame, merges: bool) -> None:
    """An arrow with the line that changes, written at its vertical part, on the inner side.

    Args:
        axis: in inches.
        edge: what to write.
        parent, child: the boxes.
        merges: whether other arrows lead to the child: they come in at its sides.
    """
    colour = style.OPTIMIZERS[edge.child].colour
    side = np.sign(child.x - parent.x)
    start, end, bend = (parent.x, parent.bottom), (child.x, child.top), "arc3"
    if side and merges:
        end, bend = (child.x - side * BOX / 2, child.middle), "angle,angleA=90,angleB=0,rad=8"
    elif side:
        start, bend = (parent.x + side * BOX / 2, parent.middle), "angle,angleA=0,angleB=90,rad=8"
    arrow = {"arrowstyle": "-|>", "mutation_scale": 16, "shrinkA": 0, "shrinkB": 1}
    patch = FancyArrowPatch(start, end, connectionstyle=bend, color=colour, linewidth=2, **arrow)
    axis.add_patch(patch)
    x = parent.x if merges else child.x
    y = parent.bottom - GAP / 2 if merges else child.top + GAP / 2
    text = {"ha": "right" if x > 0 else "left", "va": "center"}
    x += -0.14 if x > 0 else 0.14
    axis.text(x, y + 0.22, edge.why, fontsize=9, style="italic", **text)
    axis.text(x, y, edge.after, fontsize=10.5, color=colour, fontweight="bold", **text)
    axis.text(x, y - 0.22, f"instead of  {edge.before}", fontsize=9, color=style.FAINT, **text)


def draw(members: list[Person], edges: tuple[Edge, ...]) -> Figure:
    names = [member.name for member in members]
    depth, middle = generations(names, edges), across(names, edges)
    tallest = [
        max(height(member) for member in members if depth[member.name] == generation)
        for generation in range(max(depth.values()) + 1)
    ]
    frames = {}
    for member in members:
        above = depth[member.name]
        top = -sum(tallest[:above]) - GAP * above
        frames[member.name] = Frame(middle[member.name], top, top - height(member))
    total = sum(tallest) + GAP * (len(tallest) - 1)
    width = 2 * (max(middle.values()) + BOX / 2 + 0.3)
    figure = Figure(figsize=(width, total + 1.3), layout="none")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set(xlim=(-width / 2, width / 2), ylim=(-total - 0.7, 0.6))
    for edge in edges:
        merges = sum(other.child == edge.child for other in edges) > 1
        draw_edge(axis, edge, frames[edge.parent], frames[edge.child], merges)
    for member in members:
        draw_person(axis, member, frames[member.name].x, frames[member.name].top)
    left = 0.1 - width / 2
    axis.text(left, 0.36, "Who inherits what", fontsize=13, fontweight="bold", va="center")
    shared = textwrap.fill(shared_arguments(), width=115)
    axis.text(left, -total - 0.4, shared, fontsize=8.5, va="center", linespacing=1.4)
    return figure


# 5. All of it.


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments, images=False)
    check(EDGES)
    members = [person(cls) for cls in public()]
    for edge in EDGES:
        print(f"{edge.parent:>16} → {edge.child:<10}{edge.before:<16} → {edge.after}")
    this.save(draw(members, EDGES), "family_tree")
    return this.end()


if __name__ == "__main__":
    sys.exit(main())


# What it printed:
#
#  GradientDescent → SGD       w ← w − ηḡ       → w ← w − ηg
#              SGD → Momentum  w ← w − ηg       → v ← αv − ηg;  w ← w + v
#              SGD → Adagrad   w ← w − ηg       → w ← w − ηg / √(h + ε)
#          Adagrad → RMSprop   h ← h + g²       → h ← ρh + (1 − ρ)g²
#         Momentum → Adam      w ← w − ηm       → w ← w − ηm̂ / (√v̂ + ε)
#          RMSprop → Adam      w ← w − ηg / d   → w ← w − ηm̂ / (√v̂ + ε)
# Wrote:
#   examples/pictures/family_tree.png (89 kB)
