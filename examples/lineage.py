"""From gradient descent to Adam: six optimizers, one start, one data set, and every rate.

    python examples/lineage.py
    python examples/lineage.py --quick

What you will see:

- The worked numbers of the lineage, computed by the classes, beside what one gets by hand.
- The training loss against updates: gradient descent (GD), which looks at all images before each
  update, against the others, which look at 60.
- The same runs against seconds (updates times what one takes, undisturbed). An update of GD costs
  many times as much, and now it is behind.
- The loss after all updates for every learning rate of a grid. The race above it is run by each
  optimizer at its best rate of that grid: a race at one rate for all would only show whom the rate
  suits. A wide valley forgives a wrong guess, and where it lies is what a default has to hit.

The problem is small, so that hundreds of runs take minutes: 6,000 images of Fashion-MNIST at 14 by
14 pixels, and a network with one hidden layer of 32. All optimizers get the same weights to start
from and the same batches in the same order, for each of several seeds; lines are medians, bands go
from the best to the worst seed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import lesson
import numpy as np
import style
from fashion_mnist_data import Data
from keras import ops
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from keras_optim_losses import losses, optimizers

NAMES = ("GradientDescent", "SGD", "Momentum", "Adagrad", "RMSprop", "Adam")

# 1. The worked numbers: a weight, its gradients, and what the optimizer makes of them.


def weights_after(optimizer: optimizers.Optimizer, gradients: list[float]) -> list[float]:
    """A weight that starts at 0, after each gradient."""
    weight = keras.Variable(0.0)
    path = []
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient, dtype="float32")], [weight])
        path.append(float(ops.convert_to_numpy(weight.value)))
    return path


def state(optimizer: optimizers.Optimizer, slot: str) -> float:
    """What the optimizer of `weights_after` remembers under that name."""
    (variable,) = (v for v in optimizer.variables if v.name.endswith(slot))
    return float(ops.convert_to_numpy(variable.value))


@dataclass(frozen=True)
class Worked:
    claim: str
    computed: float
    by_hand: float


def worked_numbers() -> list[Worked]:
    """The claims that the story of these optimizers rests on."""
    numbers = []

    def add(claim: str, computed: float, by_hand: float) -> None:
        numbers.append(Worked(claim, computed, by_hand))

    first, second = weights_after(optimizers.SGD(1.0), [-0.5, -0.3])
    add("SGD: the second step, from a gradient of −0.3", second - first, 0.3)
    first, second = weights_after(optimizers.Momentum(1.0, momentum=0.9), [-0.5, -0.3])
    add("Momentum: the same after a step of 0.5, 0.9·0.5 + 0.3", second - first, 0.75)

    averaging = optimizers.Momentum(1.0, momentum=0.9, averaging=True)
    weights_after(averaging, [4.0])
    add("Momentum, averaging: m₁ = 0.1 g₁ for g₁ = 4", state(averaging, "momentum"), 0.4)

    adam = optimizers.Adam(0.1)
    (weight,) = weights_after(adam, [4.0])
    m, v = state(adam, "momentum"), state(adam, "velocity")
    add("Adam: m₁ = 0.1 g₁ for g₁ = 4, too small by far", m, 0.4)
    add("Adam: corrected to m̂₁ = m₁ / (1 − 0.9) = g₁", m / (1 - adam.beta_1), 4.0)
    add("Adam: v̂₁ = v₁ / (1 − 0.999) = g₁²", v / (1 - adam.beta_2), 16.0)
    add("Adam: so the first step is −η sign(g₁), with η = 0.1", weight, -0.1)
    (weight,) = weights_after(optimizers.Adam(0.1), [-4000.0])
    add("Adam: and for g₁ = −4,000", weight, 0.1)

    adagrad = optimizers.Adagrad(1.0, initial_accumulator_value=0.0, epsilon=0.0)
    path = weights_after(adagrad, [3.0] * 4)
    add("Adagrad: the fourth equal gradient, h is their sum: −1/√4", path[3] - path[2], -0.5)
    rmsprop = optimizers.RMSprop(1.0, rho=0.5, epsilon=0.0)
    path = weights_after(rmsprop, [3.0] * 40)
    add("RMSprop: the fortieth, h is their mean and at most g²: −1", path[-1] - path[-2], -1.0)
    add("RMSprop: h after it, for g² = 9", state(rmsprop, "velocity"), 9.0)

    given = [1.0, 2.0, 3.0, 6.0]
    path = weights_after(optimizers.GradientDescent(1.0, batches_per_update=4), given)
    add("GD: nothing until all batches are seen", path[2], 0.0)
    add("GD: then one step by their mean gradient, 3", path[3], -3.0)
    path = weights_after(optimizers.SGD(1.0), given)
    add("SGD: a step after every batch, together their sum", path[3], -12.0)
    return numbers


# 2. The problem: the same start and the same batches for all.


@dataclass(frozen=True)
class Effort:
    """How much is tried."""

    images: int = 6000
    batch_size: int = 60
    updates: int = 200
    rates: tuple[float, ...] = tuple(np.round(np.logspace(-4, 1, 16), 7))
    seeds: int = 3


@dataclass(frozen=True)
class Problem:
    """Images (n, 196) from 0 to 1 with their labels (n,), to train on and to test."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def smaller(images: np.ndarray) -> np.ndarray:
    """Images (n, 28, 28) at half the size, as rows (n, 196) of numbers from 0 to 1."""
    halves = images.reshape(len(images), 14, 2, 14, 2).mean(axis=(2, 4)) / 255
    return halves.reshape(len(images), 196).astype("float32")


def make_problem(data: Data, effort: Effort) -> Problem:
    labels, n = data.train_labels.astype("int32"), effort.images
    return Problem(
        smaller(data.train_images[:n]),
        labels[:n],
        smaller(data.test_images),
        data.test_labels.astype("int32"),
    )


def batches(problem: Problem, size: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches without end; every pass goes over all images, in an order of its own."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(problem.images))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield problem.images[chosen], problem.labels[chosen]


# 3. The runs.


@dataclass(frozen=True)
class Run:
    """The loss over all training images after some updates, and the seconds that one takes."""

    updates: np.ndarray
    loss: np.ndarray
    seconds_an_update: float
    test_accuracy: float


def make_model(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential([keras.Input((196,)), layers.Dense(32, "relu"), layers.Dense(10)])


class Trainer:
    """A model with one optimizer, compiled once and put back to the start before each run."""

    def __init__(self, name: str, problem: Problem, effort: Effort) -> None:
        self.problem, self.effort = problem, effort
        self.optimizer = getattr(optimizers, name)()
        self.loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        # All of them now: TensorFlow compiles anew after its seed has been set.
        self.starts = [make_model(seed).get_weights() for seed in range(effort.seeds)]
        self.model = make_model(seed=0)
        self.model.compile(self.optimizer, self.loss)
        self.optimizer.build(self.model.trainable_variables)
        self.fresh = [ops.convert_to_numpy(v.value) for v in self.optimizer.variables]
        # The whole data in one batch: the same number as `batches_per_update` of all small ones.
        whole = name == "GradientDescent"
        self.batch_size = len(problem.images) if whole else effort.batch_size
        # What is compiled in the first steps shall not count.
        for _, batch in zip(range(2), batches(problem, self.batch_size, seed=0)):
            self.model.train_on_batch(*batch)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        return ops.convert_to_numpy(self.model(images))

    def run(self, rate: float, seed: int, looks: list[int]) -> Run:
        """Train from the start of that seed, and look at the loss after these updates."""
        self.model.set_weights(self.starts[seed])
        self.optimizer.set_weights(self.fresh)
        self.optimizer.learning_rate = rate
        loss, seconds = [], []
        numbers = range(1, self.effort.updates + 1)
        for number, batch in zip(numbers, batches(self.problem, self.batch_size, seed)):
            begun = time.perf_counter()
            self.model.train_on_batch(*batch)
            seconds.append(time.perf_counter() - begun)
            if number in looks:
                outputs = self.outputs(self.problem.images)
                loss.append(float(self.loss(self.problem.labels, outputs)))
        said = self.outputs(self.problem.test_images).argmax(axis=-1)
        right = float(np.mean(said == self.problem.test_labels))
        return Run(np.array(looks), np.array(loss), float(np.median(seconds)), right)


@dataclass(frozen=True)
class Study:
    """One optimizer: the final loss (rates, seeds) for each rate, and its runs at the best one."""

    name: str
    rates: np.ndarray
    final: np.ndarray
    best_rate: float
    race: list[Run]
    images_an_update: int
    seconds_an_update: float

    @property
    def forgiving(self) -> float:
        """Over how many powers of ten the rate may go wrong for at most half more loss."""
        median = np.median(self.final, axis=1)
        return float(np.sum(median <= 1.5 * median.min()) * np.log10(self.rates[1] / self.rates[0]))


def best(final: np.ndarray, rates: tuple[float, ...]) -> float:
    """The rate whose median over the seeds is the lowest; what is not finite is the worst."""
    return rates[int(np.argmin(np.median(final, axis=1)))]


def study(name: str, problem: Problem, effort: Effort) -> Study:
    trainer = Trainer(name, problem, effort)
    seeds = range(effort.seeds)
    end = [effort.updates]
    tried = [[trainer.run(rate, seed, end) for seed in seeds] for rate in effort.rates]
    final = np.array([[run.loss[-1] for run in row] for row in tried])
    final = np.nan_to_num(final, nan=np.inf)
    rate = best(final, effort.rates)
    looks = np.unique(np.geomspace(1, effort.updates, 30).astype(int)).tolist()
    race = [trainer.run(rate, seed, looks) for seed in seeds]
    # Not the mean: what else the machine does can only make an update longer.
    seconds = min(run.seconds_an_update for row in tried for run in row)
    return Study(name, np.array(effort.rates), final, rate, race, trainer.batch_size, seconds)


# 4. Drawing.


def band(axis: Axes, name: str, x: np.ndarray, values: np.ndarray) -> None:
    """The median over seeds as a line and their range as a band; values are (points, seeds)."""
    look = style.OPTIMIZERS[name]
    axis.plot(x, np.median(values, axis=1), **look.line)
    low, high = values.min(axis=1), values.max(axis=1)
    axis.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)


def draw(studies: list[Study], effort: Effort) -> Figure:
    figure = Figure(figsize=(style.WIDTH, 8.6))
    places = [["updates", "seconds"], ["rates", "rates"]]
    axes = figure.subplot_mosaic(places, height_ratios=[1, 1.1])
    by_updates, by_seconds, by_rate = axes.values()
    worst = 4.0  # a loss above counts as this
    handles = []
    for each in studies:
        loss = np.array([run.loss for run in each.race]).T
        updates = each.race[0].updates
        band(by_updates, each.name, updates, loss)
        band(by_seconds, each.name, updates * each.seconds_an_update, loss)
        band(by_rate, each.name, each.rates, np.minimum(each.final, worst))
        look, lowest = style.OPTIMIZERS[each.name], np.median(each.final, axis=1).min()
        by_rate.plot(each.best_rate, lowest, "o", color=look.colour, mec="white", markersize=9)
        label = f"{each.name}, η = {each.best_rate:.2g}"
        handles.append(Line2D([], [], **look.line, label=label))
    for axis in axes.values():
        axis.set(xscale="log", yscale="log", ylabel="training loss")
        axis.set_yticks([0.5, 0.7, 1, 2], ["0.5", "0.7", "1", "2"])
        axis.yaxis.set_minor_locator(NullLocator())
        axis.axhline(np.log(10), color=style.FAINT, linewidth=1, linestyle=":")
    for axis, subs in ((by_updates, (1, 2, 5)), (by_seconds, (1, 3))):
        axis.xaxis.set_major_locator(LogLocator(subs=subs))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
    by_updates.set(xlabel="updates", title="Each at its best rate, by updates")
    by_seconds.set(xlabel="seconds in updates", title="The same runs, by the clock")
    by_rate.set(
        xlabel="learning rate η",
        title=f"After {effort.updates} updates, at every rate (dots: the best, which run above)",
        xlim=(effort.rates[0], effort.rates[-1]),
        ylim=(None, worst),
    )
    at = (effort.rates[0], np.log(10))
    by_rate.annotate("loss of guessing", at, (4, 4), textcoords="offset points", fontsize=8.5)
    style.legend_below(figure, handles, columns=3)
    figure.suptitle("From gradient descent to Adam", x=0.012, ha="left")
    return figure


# 5. All of it.


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    effort = Effort(600, 60, 20, (0.001, 0.01, 0.1, 1.0), 2) if this.quick else Effort()
    problem = make_problem(this.data, effort)

    print(f"{'The worked numbers':<60}{'computed':>10}{'by hand':>10}")
    for number in worked_numbers():
        print(f"{number.claim:<60}{number.computed:>10.5g}{number.by_hand:>10.5g}")

    print(
        f"\n{effort.images:,} images, {effort.updates} updates, {len(effort.rates)} rates, "
        f"{effort.seeds} seeds; medians over the seeds"
    )
    print(
        f"{'optimizer':<17}{'best rate':>10}{'loss':>8}{'test':>8}{'images seen':>13}"
        f"{'ms an update':>14}{'forgiving':>11}"
    )
    studies = []
    for name in NAMES:
        each = study(name, problem, effort)
        studies.append(each)
        accuracy = np.median([run.test_accuracy for run in each.race])
        milliseconds = 1000 * each.seconds_an_update
        print(
            f"{name:<17}{each.best_rate:>10.2g}{np.median(each.final, axis=1).min():>8.3f}"
            f"{accuracy:>8.1%}{each.images_an_update * effort.updates:>13,}{milliseconds:>14.2f}"
            f"{each.forgiving:>11.1f}"
        )
    print("forgiving: powers of ten of rates that leave at most half more loss than the best one")
    this.save(draw(studies, effort), "lineage")
    return this.end()


if __name__ == "__main__":
    sys.exit(main())


# What it printed, on two cores of a CPU with other work beside it:
#
# The worked numbers                                            computed   by hand
# SGD: the second step, from a gradient of −0.3                      0.3       0.3
# Momentum: the same after a step of 0.5, 0.9·0.5 + 0.3             0.75      0.75
# Momentum, averaging: m₁ = 0.1 g₁ for g₁ = 4                        0.4       0.4
# Adam: m₁ = 0.1 g₁ for g₁ = 4, too small by far                     0.4       0.4
# Adam: corrected to m̂₁ = m₁ / (1 − 0.9) = g₁                         4         4
# Adam: v̂₁ = v₁ / (1 − 0.999) = g₁²                                  16        16
# Adam: so the first step is −η sign(g₁), with η = 0.1              -0.1      -0.1
# Adam: and for g₁ = −4,000                                          0.1       0.1
# Adagrad: the fourth equal gradient, h is their sum: −1/√4         -0.5      -0.5
# RMSprop: the fortieth, h is their mean and at most g²: −1           -1        -1
# RMSprop: h after it, for g² = 9                                      9         9
# GD: nothing until all batches are seen                               0         0
# GD: then one step by their mean gradient, 3                         -3        -3
# SGD: a step after every batch, together their sum                  -12       -12
#
# 6,000 images, 200 updates, 16 rates, 3 seeds; medians over the seeds
# optimizer         best rate    loss    test  images seen  ms an update  forgiving
# GradientDescent        0.46   0.552   77.1%    1,200,000          7.14        1.3
# SGD                    0.46   0.707   73.0%       12,000          1.00        1.3
# Momentum                0.1   0.543   77.8%       12,000          0.95        1.7
# Adagrad                0.22   0.619   75.2%       12,000          1.06        1.7
# RMSprop                0.01   0.609   75.7%       12,000          1.02        2.3
# Adam                  0.022   0.529   78.1%       12,000          1.11        2.0
# forgiving: powers of ten of rates that leave at most half more loss than the best one
# Wrote:
#   examples/pictures/lineage.png (112 kB)
