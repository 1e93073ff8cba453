"""Two callbacks: find a learning rate before the training, and look into the training.

    python examples/callbacks.py
    python examples/callbacks.py --quick

What you will see:

- `LearningRateFinder` for SGD, Momentum and Adam: the loss of a hundred batches while the rate
  grows from 10⁻⁶ to 10, and the rate that it suggests. Beside it what it is to predict, the loss
  after two epochs at each of eleven rates: 100 batches tell what took 2,000.
- `UpdateMonitor` on a network that is too deep for its activation: six hidden layers with a
  sigmoid. Each passes on a quarter of a gradient at most, so the first layers get next to nothing.
  SGD moves them as little, and the network does not learn. Adam divides by the size of the
  gradient: ‖Δw‖/‖w‖ is alike in all layers, whatever ‖g‖ is, and it learns.

What to look for: the suggested rate is where the curve falls most steeply, and not where it is
lowest, which is on the brink of exploding. A layer whose ‖Δw‖/‖w‖ is thousands of times below that
of the others does not learn.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import keras
import lesson
import numpy as np
import style
from fashion_mnist_data import Data
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from keras_optim_losses import callbacks, losses, optimizers
from keras_optim_losses.untouched import untouched

NAMES = ("SGD", "Momentum", "Adam")
DEPTH = 6


@dataclass(frozen=True)
class Effort:
    """How much is tried."""

    images: int = 6000
    steps: int = 100
    rates: tuple[float, ...] = tuple(10.0 ** (k / 2) for k in range(-8, 3))
    epochs: int = 2
    deep_epochs: int = 15


@dataclass(frozen=True)
class Problem:
    images: np.ndarray
    labels: np.ndarray


def make_problem(data: Data, effort: Effort) -> Problem:
    every = max(1, len(data.train_images) // effort.images)
    images = data.train_images[::every][: effort.images].astype("float32") / 255
    labels = data.train_labels[::every][: effort.images].astype("int32")
    return Problem(images, labels)


def compiled(layers: list[keras.Layer], optimizer: optimizers.Optimizer) -> keras.Model:
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), *layers])
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


# 1. A rate before the training.


@dataclass(frozen=True)
class Search:
    finder: callbacks.LearningRateFinder
    final: list[float]  # the loss after training at each rate


def search(name: str, problem: Problem, effort: Effort) -> Search:
    """Sweep once; then train at each rate, which is what the sweep spares."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    model = compiled(layers, getattr(optimizers, name)())
    finder = callbacks.LearningRateFinder(steps=effort.steps)
    finder.find(model, problem.images, problem.labels, batch_size=64)
    final = []
    for rate in effort.rates:
        with untouched(model):  # all start from the same weights, with fresh state
            model.optimizer.learning_rate = rate
            epochs = model.fit(
                problem.images, problem.labels, batch_size=64, epochs=effort.epochs, verbose=0
            )
            final.append(epochs.history["loss"][-1])
    return Search(finder, final)


def draw_searches(searches: dict[str, Search], effort: Effort) -> Figure:
    figure = Figure(figsize=(style.WIDTH, 4.2))
    axes: Any = figure.subplots(1, len(searches), sharey=True, squeeze=False)
    for axis, (name, found) in zip(axes[0], searches.items()):
        look = style.OPTIMIZERS[name]
        raw, smoothed, suggestion = found.finder.plot(axis).get_lines()
        raw.set(color=style.FAINT, linewidth=0.8, alpha=0.7)
        smoothed.set(**look.line, linewidth=2.2)
        suggestion.set(color=style.INK, zorder=4)
        axis.plot(effort.rates, found.final, "D", color=look.colour, markerfacecolor="white")
        axis.axvline(found.finder.suggestion, color=style.INK, linewidth=0.8, linestyle=":")
        # In the title the suggestion covers no mark.
        axis.texts[0].remove()
        title = f"{name}: {found.finder.suggestion:.1e} suggested"
        axis.set(title=title, ylabel="", ylim=(0.3, 3.2), xlim=(1e-6, 20))
        axis.xaxis.set_major_locator(LogLocator(numticks=8))
        axis.xaxis.set_minor_locator(NullLocator())
    figure.axes[0].set_ylabel("training loss")
    handles = [
        Line2D([], [], color=style.FAINT, linewidth=0.8, label="a batch of the sweep"),
        Line2D([], [], color=style.INK, linewidth=2.2, label="the sweep, smoothed"),
        Line2D([], [], color=style.INK, marker="o", linewidth=0, label="the suggestion"),
        Line2D(
            [],
            [],
            color=style.INK,
            marker="D",
            markerfacecolor="white",
            linewidth=0,
            label=f"after {effort.epochs} epochs at this rate",
        ),
    ]
    style.legend_below(figure, handles)
    figure.suptitle("One sweep tells which rate will do", x=0.012, ha="left")
    return figure


# 2. A look into the training.


def look_into(name: str, problem: Problem, effort: Effort) -> dict[str, list[float]]:
    """The history of a network with six sigmoids one behind the other."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(64, "sigmoid", name=f"hidden_{i + 1}") for i in range(DEPTH)]
    rate = {"SGD": 0.1, "Adam": 0.003}[name]
    model = compiled(
        [*layers, keras.layers.Dense(10, name="output")], getattr(optimizers, name)(rate)
    )
    monitor = callbacks.UpdateMonitor(per_layer=True)
    history = model.fit(
        problem.images,
        problem.labels,
        batch_size=64,
        epochs=effort.deep_epochs,
        verbose=0,
        callbacks=[monitor],
    )
    return history.history


def draw_insides(insides: dict[str, dict[str, list[float]]]) -> Figure:
    figure = Figure(figsize=(style.WIDTH, 6.4))
    axes: Any = figure.subplots(2, len(insides), sharex=True, sharey="row")
    names = [*(f"hidden_{i + 1}" for i in range(DEPTH)), "output"]
    rows = (("gradient_norm", "‖g‖ of a layer"), ("update_ratio", "‖Δw‖ / ‖w‖ of a layer"))
    for column, (name, history) in enumerate(insides.items()):
        look = style.OPTIMIZERS[name]
        for row, (quantity, label) in enumerate(rows):
            axis = axes[row, column]
            for depth, layer in enumerate(names):
                values = history[f"{quantity}/{layer}"]
                shade = 0.25 + 0.75 * depth / DEPTH
                epochs = np.arange(1, len(values) + 1)
                axis.plot(
                    epochs, values, color=look.colour, alpha=shade, linewidth=1.8, label=layer
                )
            axis.set(yscale="log", xlim=(1, len(values)))
            axis.yaxis.set_minor_locator(NullLocator())
            if not column:
                axis.set_ylabel(label)
        accuracy = history["accuracy"][-1]
        axes[0, column].set_title(f"{name}: training accuracy {accuracy:.0%}")
        axes[1, column].set_xlabel("epoch (paler: nearer to the image)")
    for axis in figure.axes:  # when all lines are there: rows share their limits
        style.label_lines(axis, {names[0]: "first", names[-1]: "output"})
    figure.suptitle("Six sigmoids deep: who still moves the first layer?", x=0.012, ha="left")
    return figure


# 3. Both of it.


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    effort = Effort(600, 30, (0.001, 0.1), 1, 2) if this.quick else Effort()
    problem = make_problem(this.data, effort)
    print(f"{effort.images:,} images\n")

    print(f"{'optimizer':<12}{'suggested':>10}{'best of the grid':>18}{'its loss':>10}")
    searches = {}
    for name in NAMES:
        searches[name] = found = search(name, problem, effort)
        best = int(np.nanargmin(found.final))
        print(
            f"{name:<12}{found.finder.suggestion:>10.2g}{effort.rates[best]:>18.2g}"
            f"{found.final[best]:>10.3f}"
        )

    columns = f"{'accuracy':>9}{'first ‖g‖':>12}{'last ‖g‖':>12}{'first ‖Δw‖/‖w‖':>17}"
    print(f"\n{'six sigmoids':<14}{columns}")
    insides = {}
    for name in ("SGD", "Adam"):
        insides[name] = history = look_into(name, problem, effort)
        print(
            f"{name:<14}{history['accuracy'][-1]:>9.1%}"
            f"{history['gradient_norm/hidden_1'][-1]:>12.1e}"
            f"{history['gradient_norm/output'][-1]:>12.1e}"
            f"{history['update_ratio/hidden_1'][-1]:>17.1e}"
        )

    this.save(draw_searches(searches, effort), "learning_rate_finder")
    this.save(draw_insides(insides), "update_monitor")
    return this.end()


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     6,000 images
#
#     optimizer    suggested  best of the grid  its loss
#     SGD              0.089               0.1     0.686
#     Momentum         0.039             0.032     0.586
#     Adam            0.0025            0.0032     0.533
#
#     six sigmoids   accuracy   first ‖g‖    last ‖g‖   first ‖Δw‖/‖w‖
#     SGD               10.0%     4.7e-04     4.7e-01          4.3e-06
#     Adam              69.3%     4.8e-01     4.7e-01          4.3e-03
