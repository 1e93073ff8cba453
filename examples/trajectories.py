"""Five optimizers walk over six surfaces, and under each path stands why it went that way.

    python examples/trajectories.py
    python examples/trajectories.py --scene ravine_rotated himmelblau

What you will see, a picture for each surface:

- The path of each optimizer, with that of SGD in grey behind it, and the loss against steps.
- Under each path what the optimizer remembers, for the two coordinates apart: m, which takes the
  place of the gradient; √v, by which a step is divided; and |Δw|, the step that came out of it.

What to look for:

- ravine: a hundred times steeper across than along. SGD takes the rate that the steep side bears,
  and crawls along the other. Momentum adds up what its gradients agree on. Adagrad, RMSprop and
  Adam divide by √v, a number for each coordinate: the two steps come out alike. Look at RMSprop
  long after it has arrived: it forgets, √h shrinks until a step is too large, and the walk bursts.
- ravine_rotated: the same ravine, turned by 45 degrees. SGD and Momentum take the same path,
  turned. For the others both coordinates now look alike, √v is twice the same, and Adagrad loses
  all that it had won; Adam is left with its momentum.
- ravine_noisy, saddle_noisy: every gradient is off by chance. What averages gradients is steadier.
  Where the noise is larger than the gradient √v measures the noise, the same for both coordinates,
  and makes no difference between them any more.
- rosenbrock, beale: curved valleys. The walls turn, so no rate for a coordinate suits for long;
  what carries on is momentum.
- himmelblau: four minima of the same depth. Momentum carries past the nearest one.
- saddle: flat in one coordinate, and the start nearly on the ridge. Divided by √v a tiny gradient
  is a large step, and gets away first.

The paths are made by the `rule` of the very classes that train networks, with the state that they
keep. Nothing is tuned by hand: every picture states the rule by which all rates were picked. The
picked rates, and how long each took, are printed at the end. In two dimensions with the best rate
for each, plain SGD is often hard to beat: what these pictures show is how each walks, and not which
one trains a network best.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lesson
import numpy as np
import style
from keras import ops
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from keras_optim_losses import optimizers
from keras_optim_losses.optimizers.step import Step

# 1. The surfaces: a loss of two weights, and its gradient.


@dataclass(frozen=True)
class Surface:
    """A loss f(w) of points w (..., 2), its gradient of that shape, and where its minima lie."""

    formula: str
    loss: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray], np.ndarray]
    minima: np.ndarray


def rotation(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def ravine(degrees: float) -> Surface:
    """½(x² + 100y²), turned by that angle."""
    turn = rotation(degrees)
    hessian = turn @ np.diag([1.0, 100.0]) @ turn.T
    return Surface(
        "½(x² + 100y²)" + (f", turned by {degrees:g}°" if degrees else ""),
        lambda w: 0.5 * np.sum(w * (w @ hessian), axis=-1),
        lambda w: w @ hessian,
        np.zeros((1, 2)),
    )


def rosenbrock() -> Surface:
    def gradient(w: np.ndarray) -> np.ndarray:
        x, y = w[..., 0], w[..., 1]
        return np.stack([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)], axis=-1)

    return Surface(
        "(1 − x)² + 100(y − x²)²",
        lambda w: (1 - w[..., 0]) ** 2 + 100 * (w[..., 1] - w[..., 0] ** 2) ** 2,
        gradient,
        np.array([[1.0, 1.0]]),
    )


def beale() -> Surface:
    terms = ((1.5, 1), (2.25, 2), (2.625, 3))

    def loss(w: np.ndarray) -> np.ndarray:
        x, y = w[..., 0], w[..., 1]
        return np.sum([(c - x + x * y**k) ** 2 for c, k in terms], axis=0)

    def gradient(w: np.ndarray) -> np.ndarray:
        x, y = w[..., 0], w[..., 1]
        off = [2 * (c - x + x * y**k) for c, k in terms]
        by_x = sum(e * (y**k - 1) for e, (_, k) in zip(off, terms))
        by_y = sum(e * k * x * y ** (k - 1) for e, (_, k) in zip(off, terms))
        return np.stack([by_x, by_y], axis=-1)

    return Surface(
        "(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
        loss,
        gradient,
        np.array([[3.0, 0.5]]),
    )


def himmelblau() -> Surface:
    def gradient(w: np.ndarray) -> np.ndarray:
        x, y = w[..., 0], w[..., 1]
        one, other = x**2 + y - 11, x + y**2 - 7
        return np.stack([4 * x * one + 2 * other, 2 * one + 4 * y * other], axis=-1)

    return Surface(
        "(x² + y − 11)² + (x + y² − 7)²",
        lambda w: (w[..., 0] ** 2 + w[..., 1] - 11) ** 2 + (w[..., 0] + w[..., 1] ** 2 - 7) ** 2,
        gradient,
        np.array(
            [[3.0, 2.0], [-2.805118, 3.131313], [-3.779310, -3.283186], [3.584428, -1.848127]]
        ),
    )


def saddle() -> Surface:
    """Steep in x, nearly flat in y, where a ridge at y = 0 parts two minima."""

    def gradient(w: np.ndarray) -> np.ndarray:
        x, y = w[..., 0], w[..., 1]
        return np.stack([x, 0.1 * (y**3 - y)], axis=-1)

    return Surface(
        "½x² + 0.025(y² − 1)²",
        lambda w: 0.5 * w[..., 0] ** 2 + 0.025 * (w[..., 1] ** 2 - 1) ** 2,
        gradient,
        np.array([[0.0, 1.0], [0.0, -1.0]]),
    )


@dataclass(frozen=True)
class Scene:
    """A surface, where the walk starts, what of it the picture shows, and the gradients' noise."""

    title: str
    surface: Surface
    start: tuple[float, float]
    centre: tuple[float, float]
    reach: float  # from the centre to the upper edge of the picture
    noise: float = 0.0  # the standard deviation of what is added to each gradient

    @property
    def at_start(self) -> float:
        return float(self.surface.loss(np.array(self.start)))

    @property
    def window(self) -> tuple[float, float, float, float]:
        """The edges of the picture: left, right, below, above."""
        (x, y), width = self.centre, WIDE * self.reach
        return x - width, x + width, y - self.reach, y + self.reach


WIDE = 1.44  # width of a picture over its height


def scenes() -> dict[str, Scene]:
    start = (-2.4, 0.6)
    x, y = rotation(45) @ start
    return {
        "ravine": Scene("A ravine along the axes", ravine(0), start, (-0.6, 0.0), 1.5),
        "ravine_rotated": Scene("The same ravine, turned", ravine(45), (x, y), (-0.7, -0.75), 1.5),
        "ravine_noisy": Scene(
            "The ravine, with noisy gradients", ravine(0), start, (-0.6, 0.0), 1.5, noise=3.0
        ),
        "rosenbrock": Scene(
            "Rosenbrock's curved valley", rosenbrock(), (-1.2, 1.0), (0.0, 1.0), 1.6
        ),
        "beale": Scene("Beale's plateau", beale(), (0.5, -1.0), (1.9, -0.2), 1.7),
        "himmelblau": Scene("Himmelblau's four minima", himmelblau(), (0.5, -3.0), (0.0, 0.0), 5.0),
        "saddle": Scene("A saddle", saddle(), (1.6, 0.01), (0.0, 0.0), 1.8),
        "saddle_noisy": Scene(
            "The saddle, with noisy gradients", saddle(), (1.6, 0.01), (0.0, 0.0), 1.8, noise=0.1
        ),
    }


# 2. The walk: the optimizer's own rule, its own state, step by step.

NAMES = ("SGD", "Momentum", "Adagrad", "RMSprop", "Adam")
RACE = ("ravine", "ravine_rotated")


@dataclass(frozen=True)
class Walk:
    """T steps: the weights before and after (T + 1, ..., 2), and what each step was made from.

    `gradients` and each entry of `slots` are (T, ..., 2); the latter is the state after the step.
    """

    weights: np.ndarray
    gradients: np.ndarray
    slots: dict[str, np.ndarray]


def walk(
    optimizer: optimizers.Optimizer,
    gradient: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    rates: np.ndarray,
    noise: np.ndarray,
) -> Walk:
    """Walk with all rates from all starts at once.

    This is what `optimizer.apply` does with one weight of that shape, but that here each row has a
    rate of its own: a rule works entry by entry, so each walk goes as if it were alone.

    Args:
        optimizer: its `slots`, `scalars` and `rule` are used, and its own rate is not.
        gradient: of points (..., 2).
        starts: (walks, 2).
        rates: (rates,).
        noise: (steps, walks, 2), added to the gradients.

    Returns:
        A `Walk` of arrays (steps, rates, walks, 2).
    """
    weight = np.broadcast_to(starts, (len(rates), *starts.shape))
    slots = optimizer.slots
    initial = slots if isinstance(slots, Mapping) else dict.fromkeys(slots, 0.0)
    state = {name: np.full(weight.shape, value) for name, value in initial.items()}
    rate = ops.convert_to_tensor(np.reshape(rates, (-1, 1, 1)))
    weights, gradients, states = [weight], [], []
    for t, off in enumerate(noise, start=1):
        given = gradient(weight) + off
        step = Step(rate, ops.convert_to_tensor(np.asarray(float(t))))
        step = Step(**step.values, **optimizer.scalars(step))
        tensors = [ops.convert_to_tensor(x) for x in (weight, given, *state.values())]
        result = optimizer.rule(step, *tensors)
        weight, *new = [
            ops.convert_to_numpy(x).astype("float64") for x in (result if state else (result,))
        ]
        state = dict(zip(state, new))
        weights.append(weight)
        gradients.append(given)
        states.append(state)
    kept = {name: np.array([state[name] for state in states]) for name in initial}
    return Walk(np.array(weights), np.array(gradients), kept)


# 3. The rate: picked by a rule that knows no names, from walks that are not the one shown.

FLOOR = 1e-6  # a loss of a millionth of that at the start counts as arrived


@dataclass(frozen=True)
class Effort:
    """How much is tried. The rates are 10⁻⁴ to 10."""

    steps: int = 100
    rates_a_decade: int = 12
    others: int = 16

    @property
    def rates(self) -> np.ndarray:
        return np.logspace(-4, 1, 5 * self.rates_a_decade + 1)


def rule_text(effort: Effort) -> str:
    """How rates are picked, for the pictures; `score` and `pick` do what it says."""
    return (
        f"How the rates η were picked: the same {len(effort.rates)} from 10⁻⁴ to 10 for every "
        f"optimizer, each tried from {effort.others} other starts nearby.\n"
        f"Of those whose walks all stay in the picture, the one with the lowest mean of log f over "
        f"{effort.steps} steps; less than 10⁻⁶\n"
        f"of the f at the start counts as 10⁻⁶. All other arguments are the defaults."
    )


def score(scene: Scene, weights: np.ndarray) -> np.ndarray:
    """Mean of log₁₀ f along each walk, relative to the shown start; inf where it is no use.

    Args:
        scene: what is walked on.
        weights: (steps + 1, rates, walks, 2).

    Returns:
        (rates,), the mean over walks; inf where one of them leaves the picture.
    """
    left, right, below, above = scene.window
    x, y = weights[..., 0], weights[..., 1]
    inside = ((left <= x) & (x <= right) & (below <= y) & (y <= above)).all(axis=(0, 2))
    relative = scene.surface.loss(weights) / scene.at_start
    mean = np.log10(np.maximum(relative, FLOOR)).mean(axis=(0, 2))
    return np.where(inside, mean, np.inf)


@dataclass(frozen=True)
class Shown:
    """The walk that a picture shows: arrays (steps, 2) as in `Walk`, and the loss at each point."""

    name: str
    rate: float
    walk: Walk
    loss: np.ndarray
    optimizer: optimizers.Optimizer

    @property
    def steps_to_one_percent(self) -> int | None:
        """After how many steps the loss stays under 1% of that at the start; None if never."""
        above = np.flatnonzero(self.loss >= 0.01 * self.loss[0])
        return None if above[-1] == len(self.loss) - 1 else int(above[-1]) + 1


def draws(scene: Scene, effort: Effort) -> tuple[np.ndarray, np.ndarray]:
    """Starts (walks, 2) and noise (steps, walks, 2), the same for every optimizer.

    The first walk is the one that is shown; the others judge the rates.
    """
    rng = np.random.default_rng(0)
    jitter = scene.reach * rng.uniform(-0.1, 0.1, size=(effort.others, 2))
    starts = scene.start + np.concatenate([np.zeros((1, 2)), jitter])
    return starts, scene.noise * rng.normal(size=(effort.steps, len(starts), 2))


def pick(name: str, scene: Scene, effort: Effort) -> Shown:
    """Pick the rate for one optimizer and walk with it from the scene's start.

    Raises:
        ValueError: no rate keeps all walks in the picture.
    """
    optimizer = getattr(optimizers, name)()
    starts, noise = draws(scene, effort)
    rates = effort.rates
    with np.errstate(over="ignore", invalid="ignore"):  # most rates diverge
        tried = walk(optimizer, scene.surface.gradient, starts[1:], rates, noise[:, 1:])
        scores = score(scene, tried.weights)
    if np.isinf(scores).all():
        raise ValueError(
            f"{name} leaves the picture of {scene.title!r} with each of {len(rates)} rates from "
            f"{rates[0]:g} to {rates[-1]:g}. Show more of the surface."
        )
    best = np.argmin(scores)
    shown = walk(
        optimizer, scene.surface.gradient, starts[:1], rates[best : best + 1], noise[:, :1]
    )
    alone = Walk(
        shown.weights[:, 0, 0],
        shown.gradients[:, 0, 0],
        {slot: values[:, 0, 0] for slot, values in shown.slots.items()},
    )
    return Shown(name, float(rates[best]), alone, scene.surface.loss(alone.weights), optimizer)


# 4. What is inside: m in the place of the gradient, and √v that divides it.


def inner(shown: Shown) -> dict[str, np.ndarray]:
    """The three rows under a path: their titles, and values (steps, 2) for the two coordinates."""
    gradients, slots = shown.walk.gradients, shown.walk.slots
    t = np.arange(1, len(gradients) + 1)[:, None]
    m, root = {"g": gradients}, {"divided by 1": np.ones_like(gradients)}
    if shown.name == "Momentum":
        m = {"−v/η, in the place of g": -slots["momentum"] / shown.rate}
    elif shown.name == "Adagrad":
        root = {"divided by √h": np.sqrt(slots["accumulator"])}
    elif shown.name == "RMSprop":
        root = {"divided by √h": np.sqrt(slots["velocity"])}
    elif shown.name == "Adam":
        beta_1, beta_2 = shown.optimizer.beta_1, shown.optimizer.beta_2
        m = {"m̂, in the place of g": slots["momentum"] / (1 - beta_1**t)}
        root = {"divided by √v̂": np.sqrt(slots["velocity"] / (1 - beta_2**t))}
    return {**m, **root, "gives the step |Δw|": np.abs(np.diff(shown.walk.weights, axis=0))}


# 5. Drawing.

GROUND = LinearSegmentedColormap.from_list("ground", ["#B4C3D9", "#FFFFFF"])
DEEP, HIGH = 1e-3, 10.0  # contours, relative to the loss at the start


def draw_surface(axis: Axes, scene: Scene) -> None:
    left, right, below, above = scene.window
    x, y = np.meshgrid(np.linspace(left, right, 180), np.linspace(below, above, 150))
    relative = scene.surface.loss(np.stack([x, y], axis=-1)) / scene.at_start
    levels = np.logspace(np.log10(DEEP), np.log10(HIGH), 13)
    shade = {"cmap": GROUND, "norm": LogNorm(DEEP / 3, HIGH), "extend": "max"}
    axis.contourf(x, y, relative, levels=[0, *levels], **shade)
    axis.contour(x, y, relative, levels=levels, colors="#93A5BF", linewidths=0.4)
    axis.set(xlim=(left, right), ylim=(below, above), aspect="equal")
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.grid(False)
    axis.tick_params(length=2, pad=2, labelsize=7.5)
    axis.plot(*scene.surface.minima.T, "*", color="white", mec=style.INK, markersize=10, zorder=5)
    axis.plot(*scene.start, "o", color="white", mec=style.INK, markersize=6, zorder=5)


def emptiest_corner(axis: Axes, points: np.ndarray, size: tuple[float, float]) -> list[float]:
    """Where an inset of that size, in shares of the axis, hides the fewest points (n, 2)."""
    shares = (axis.transData + axis.transAxes.inverted()).transform(points)
    # At the left there must be room for the inset's own numbers.
    places = [(x, y) for y in (0.96 - size[1], 0.04) for x in (0.98 - size[0], 0.11)]

    def hidden(place: tuple[float, float]) -> int:
        low, high = np.array(place) - (0.12, 0.04), np.array(place) + size + 0.02
        return int(((shares >= low) & (shares <= high)).all(axis=1).sum())

    return [*min(places, key=hidden), *size]


def draw_loss(axis: Axes, walks: list[Shown], width: float) -> None:
    """f against steps, relative to the start."""
    for shown in walks:
        axis.semilogy(
            shown.loss / shown.loss[0], **style.OPTIMIZERS[shown.name].line, linewidth=width
        )
    axis.set(ylim=(FLOOR, 3), xlim=(0, len(walks[0].loss) - 1), yticks=[1, 1e-2, 1e-4, 1e-6])
    axis.minorticks_off()


def draw_panel(axis: Axes, strips: list[Axes], scene: Scene, shown: Shown, sgd: Shown) -> None:
    """A path with its inset, and under it what is inside."""
    look = style.OPTIMIZERS[shown.name]
    draw_surface(axis, scene)
    if shown is not sgd:
        axis.plot(*sgd.walk.weights.T, color=style.OPTIMIZERS["SGD"].colour, linewidth=2.4)
    axis.plot(*shown.walk.weights.T, ".-", color=look.colour, linewidth=1.3, markersize=4)
    steps = shown.steps_to_one_percent
    arrived = f"{steps} steps to 1%" if steps else f"{shown.loss[-1] / shown.loss[0]:.2g} of f left"
    axis.set_title(shown.name, color=look.colour, pad=14)
    axis.text(0, 1.025, f"η = {shown.rate:.2g}, {arrived}", transform=axis.transAxes, fontsize=8.5)
    points = np.concatenate(
        [sgd.walk.weights, shown.walk.weights, [scene.start], scene.surface.minima]
    )
    inset = axis.inset_axes(emptiest_corner(axis, points, (0.34, 0.3)))
    draw_loss(inset, [sgd, shown], width=1.1)
    inset.set(xticks=[], yticks=[1, 1e-3, 1e-6])
    inset.tick_params(length=2, pad=1, labelsize=6.5)
    inset.minorticks_off()
    t = np.arange(1, len(shown.walk.gradients) + 1)
    for strip, (title, values) in zip(strips, inner(shown).items()):
        strip.plot(t, values[:, 0], color=look.colour, linewidth=1.6)
        strip.plot(t, values[:, 1], color=look.colour, linewidth=0.9, alpha=0.55)
        strip.set_title(title, fontsize=8, fontweight="normal", pad=2)


def scale_strips(strips: list[Axes], signed: bool) -> None:
    """One scale for all strips of a row, so that they can be compared."""
    values = np.concatenate([line.get_ydata() for strip in strips for line in strip.get_lines()])
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    high = sizes.max()
    low = max(sizes.min(), high * 1e-4)
    for strip in strips:
        if signed:
            power = 10 ** np.floor(np.log10(high))
            strip.set_yscale("symlog", linthresh=high / 100, linscale=0.6)
            strip.set(ylim=(-1.5 * high, 1.5 * high), yticks=[-power, 0, power])
        else:
            strip.set_yscale("log")
            strip.set(ylim=(low / 1.6, high * 1.6))
            strip.yaxis.set_major_locator(LogLocator(numticks=3))
        strip.minorticks_off()
        strip.tick_params(length=2, pad=2, labelsize=7)


KEY = """Paths: x is across, y is up.
○ start     ☆ minima     grey: SGD
Small pictures: f / f at the start,
as above, with SGD in grey.

Under each path, the two coordinates:
thick is x;  thin and paler is y.
All strips of a row have one scale."""


def draw(scene: Scene, walks: list[Shown], effort: Effort) -> Figure:
    """A panel for each walk; the first is SGD's. In the last place, all losses and the key."""
    figure = Figure(figsize=(style.WIDTH, 10.8), layout="none")
    edges = {"left": 0.05, "right": 0.988, "top": 0.912, "bottom": 0.092}
    grid = figure.add_gridspec(2, 3, **edges, wspace=0.21, hspace=0.2)
    cells = [cell.subgridspec(4, 1, height_ratios=[3.85, 1, 1, 1], hspace=0.42) for cell in grid]
    columns = []
    for cell, shown in zip(cells, walks):
        axis = figure.add_subplot(cell[0])
        strips = [figure.add_subplot(cell[i]) for i in (1, 2, 3)]
        draw_panel(axis, strips, scene, shown, walks[0])
        for strip in strips:
            strip.set_xlim(0, effort.steps)
            strip.tick_params(labelbottom=strip is strips[-1])
        strips[-1].set_xlabel("step", fontsize=8, labelpad=1)
        columns.append(strips)
    for number, strips in enumerate(zip(*columns)):
        scale_strips(list(strips), signed=number == 0)
    axis = figure.add_subplot(cells[-1][0])
    draw_loss(axis, walks, width=1.5)
    axis.set_title("f / f at the start", pad=4)
    axis.set_xlabel("step", fontsize=8, labelpad=1)
    axis.tick_params(labelsize=7.5)
    key = figure.add_subplot(cells[-1][1:])
    key.set_axis_off()
    key.text(0, 0.88, KEY, va="top", fontsize=9, linespacing=1.4)
    figure.suptitle(scene.title, x=0.012, y=0.988, ha="left")
    noise = f",  gradients + N(0, {scene.noise:g}²)" if scene.noise else ""
    formula = f"f = {scene.surface.formula}{noise}"
    figure.text(0.988, 0.975, formula, ha="right", va="center", fontsize=10)
    figure.text(0.012, 0.012, rule_text(effort), va="bottom", fontsize=8.5, linespacing=1.3)
    return figure


# 6. The race: the ravine and the turned ravine, side by side.


def animate(
    pair: dict[str, tuple[Scene, list[Shown]]], path: Path, effort: Effort, every: int
) -> None:
    """Write an animated GIF of the walks on two scenes, a frame for each `every` steps."""
    figure = Figure(figsize=(style.WIDTH, 6.4), dpi=100, layout="none")
    canvas = FigureCanvasAgg(figure)
    edges = {"left": 0.075, "right": 0.985, "top": 0.885, "bottom": 0.2}
    grid = figure.add_gridspec(2, 2, **edges, height_ratios=[2.4, 1], hspace=0.2, wspace=0.16)
    upper, lower = grid.subplots()
    moving: list[tuple[Line2D, np.ndarray, np.ndarray]] = []
    heads: list[tuple[Line2D, np.ndarray]] = []
    for surface, curve, (scene, walks) in zip(upper, lower, pair.values()):
        draw_surface(surface, scene)
        surface.set_title(scene.title)
        curve.set(yscale="log", ylim=(FLOOR, 3), xlim=(0, len(walks[0].loss) - 1), xlabel="step")
        curve.set_ylabel("f / f at the start")
        for shown in walks:
            look, steps = style.OPTIMIZERS[shown.name], np.arange(len(shown.loss))
            x, y = shown.walk.weights.T
            (trail,) = surface.plot([], [], color=look.colour, linewidth=1.6)
            (head,) = surface.plot([], [], "o", color=look.colour, mec="white", markersize=9)
            (line,) = curve.plot([], [], **look.line)
            moving += [(trail, x, y), (line, steps, shown.loss / shown.loss[0])]
            heads.append((head, shown.walk.weights))
    handles = [
        Line2D([], [], **style.OPTIMIZERS[name].line, marker="o", label=name) for name in NAMES
    ]
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.085), ncols=5)
    title = "Turn the ravine by 45°: SGD and Momentum do not notice, the others do"
    figure.suptitle(title, x=0.012, y=0.985, ha="left")
    figure.text(0.012, 0.012, rule_text(effort), va="bottom", fontsize=8.5, linespacing=1.3)
    canvas.draw()
    ground = canvas.copy_from_bbox(figure.bbox)
    frames = []
    steps = len(walks[0].loss) - 1
    for step in range(0, steps + 1, every):
        canvas.restore_region(ground)
        for line, x, y in moving:
            line.set_data(x[: step + 1], y[: step + 1])
            line.axes.draw_artist(line)
        for head, weights in heads:
            head.set_data([weights[step, 0]], [weights[step, 1]])
            head.axes.draw_artist(head)
        frames.append(style.image_of(canvas))
    style.save_animation(frames, path, milliseconds=80 * every)


# 7. All of it.


def main(arguments: list[str] | None = None) -> int:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--scene", nargs="+", choices=list(scenes()), default=list(scenes()))

    this = lesson.begin(__doc__, arguments, more, images=False)
    effort = Effort(steps=30, rates_a_decade=3, others=4) if this.quick else Effort()
    names = RACE if this.quick else this.given.scene
    walked = {}
    print(f"{'scene':<16}{'optimizer':<10}{'rate':>8}{'steps to 1%':>14}{'of f left':>12}")
    for name in names:
        scene = scenes()[name]
        walks = [pick(optimizer, scene, effort) for optimizer in NAMES]
        for shown in walks:
            steps = shown.steps_to_one_percent or "–"
            left = shown.loss[-1] / shown.loss[0]
            print(f"{name:<16}{shown.name:<10}{shown.rate:>8.2g}{steps:>14}{left:>12.1e}")
        walked[name] = scene, walks
        this.save(draw(scene, walks, effort), f"trajectories_{name}")
    if all(name in walked for name in RACE):
        this.written.append(this.given.out / "trajectories.gif")
        race = {name: walked[name] for name in RACE}
        animate(race, this.written[-1], effort, every=5 if this.quick else 1)
    return this.end()


if __name__ == "__main__":
    sys.exit(main())


# What it printed:
#
# scene           optimizer     rate   steps to 1%   of f left
# ravine          SGD          0.018            74     3.8e-03
# ravine          Momentum    0.0068            44     3.0e-05
# ravine          Adagrad        1.8             4    1.4e-108
# ravine          RMSprop      0.083            87     9.6e-03
# ravine          Adam          0.32            37     7.8e-06
# ravine_rotated  SGD          0.018            74     3.8e-03
# ravine_rotated  Momentum    0.0068            44     3.0e-05
# ravine_rotated  Adagrad       0.68           100     9.8e-03
# ravine_rotated  RMSprop      0.083            95     5.0e-03
# ravine_rotated  Adam          0.68            40     2.5e-05
# ravine_noisy    SGD          0.015             –     4.3e-02
# ravine_noisy    Momentum    0.0032            98     3.0e-04
# ravine_noisy    Adagrad       0.32             –     1.1e-02
# ravine_noisy    RMSprop      0.068             –     1.5e-02
# ravine_noisy    Adam          0.12            56     2.0e-04
# rosenbrock      SGD         0.0026             –     9.3e-02
# rosenbrock      Momentum    0.0018            45     2.8e-04
# rosenbrock      Adagrad        1.2             –     1.3e-02
# rosenbrock      RMSprop       0.32             –     2.4e-01
# rosenbrock      Adam          0.83            60     6.8e-04
# beale           SGD          0.056            22     1.2e-04
# beale           Momentum    0.0032            38     1.2e-05
# beale           Adagrad       0.38            69     4.1e-03
# beale           RMSprop       0.12            84     5.1e-04
# beale           Adam         0.083            35     9.4e-06
# himmelblau      SGD          0.012             5     0.0e+00
# himmelblau      Momentum      0.01            45     3.4e-07
# himmelblau      Adagrad        1.2             3     0.0e+00
# himmelblau      RMSprop       0.15            74     9.0e-04
# himmelblau      Adam           3.2            37     7.7e-06
# saddle          SGD            1.8            25     1.7e-22
# saddle          Momentum      0.46            45     1.6e-05
# saddle          Adagrad        2.2             8    6.5e-119
# saddle          RMSprop      0.056            28     7.3e-30
# saddle          Adam          0.56            37     1.5e-06
# saddle_noisy    SGD           0.68            89     3.3e-04
# saddle_noisy    Momentum     0.083            96     5.2e-04
# saddle_noisy    Adagrad       0.46            10     7.5e-04
# saddle_noisy    RMSprop        0.1            89     3.2e-04
# saddle_noisy    Adam          0.12            38     1.6e-03
# Wrote:
#   examples/pictures/trajectories_ravine.png (140 kB)
#   examples/pictures/trajectories_ravine_rotated.png (173 kB)
#   examples/pictures/trajectories_ravine_noisy.png (162 kB)
#   examples/pictures/trajectories_rosenbrock.png (165 kB)
#   examples/pictures/trajectories_beale.png (158 kB)
#   examples/pictures/trajectories_himmelblau.png (177 kB)
#   examples/pictures/trajectories_saddle.png (157 kB)
#   examples/pictures/trajectories_saddle_noisy.png (187 kB)
#   examples/pictures/trajectories.gif (323 kB)
