"""A generative adversarial network: two networks train each other by binary cross-entropy.

    python examples/gan.py

What you will see: a generator turns 64 random numbers into an image, a discriminator answers one
question about an image: "is it real?" Both learn by `BinaryCrossentropy(from_logits=True)`.

- The discriminator sees real images with the label 1 and generated ones with the label 0.
- The generator sees its images through the discriminator, with the label 1: it gets −log D(G(z)).
  The other way to say it, that D should be wrong, is log(1 − D(G(z))); its gradient vanishes where
  the discriminator is sure, which it is at first. See `loss_and_gradient.py`.

The recipe is that of DCGAN (Radford, Metz and Chintala, 2016): Adam with a rate of 2e-4 and β₁ =
0.5, since the other network moves on, and old gradients point where it no longer is. Two changes
make it work in minutes on a CPU: both networks are small, and the generator normalizes groups of
channels and not the batch, so that an image does not depend on the others that are drawn with it.

Nothing here depends on the backend: both are compiled models, trained in turn by `train_on_batch`,
and `trainable` says whose turn it is. Each column of the picture has the same random numbers, while
the generator learns.
"""

from __future__ import annotations

import sys

import keras
import lesson
import numpy as np
import style
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from keras_optim_losses import losses, optimizers

NOISE = 64
BATCH = 128


def generator() -> keras.Model:
    """Random numbers (n, 64) to images of −1 to 1 (n, 28, 28, 1)."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((NOISE,)),
            layers.Dense(7 * 7 * 64),
            layers.Reshape((7, 7, 64)),
            layers.GroupNormalization(8),
            layers.LeakyReLU(0.2),
            layers.Conv2DTranspose(32, 4, strides=2, padding="same"),
            layers.GroupNormalization(8),
            layers.LeakyReLU(0.2),
            layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
        ],
        name="generator",
    )


def discriminator() -> keras.Model:
    """Images (n, 28, 28, 1) to logits of "it is real" (n, 1)."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 4, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.3),
            layers.Conv2D(64, 4, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(1),
        ],
        name="discriminator",
    )


class Game:
    """The two networks, and what they do in turn."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.generator, self.discriminator = generator(), discriminator()
        # The generator's images as the discriminator sees them.
        self.both = keras.Sequential([keras.Input((NOISE,)), self.generator, self.discriminator])
        for model in (self.discriminator, self.both):
            model.compile(
                optimizers.Adam(2e-4, beta_1=0.5), losses.BinaryCrossentropy(from_logits=True)
            )

    def noise(self, number: int) -> np.ndarray:
        return self.rng.normal(size=(number, NOISE)).astype("float32")

    def teach_discriminator(self, real: np.ndarray) -> float:
        """One update by real images and as many generated ones; its mean loss in this epoch."""
        generated = self.generator.predict_on_batch(self.noise(len(real)))
        images = np.concatenate([real, generated])
        # Real to 90% only: a discriminator that is too sure of itself has nothing to teach.
        labels = np.repeat([0.9, 0.0], len(real)).astype("float32")
        return float(self.discriminator.train_on_batch(images, labels))

    def teach_generator(self, number: int) -> float:
        """One update of the generator alone, by images that should pass for real."""
        self.discriminator.trainable = False
        loss = self.both.train_on_batch(self.noise(number), np.ones(number, "float32"))
        self.discriminator.trainable = True
        return float(loss)

    def epoch(self, images: np.ndarray) -> tuple[float, float]:
        """An update of each by every batch; their mean losses."""
        self.discriminator.reset_metrics()
        self.both.reset_metrics()
        order = self.rng.permutation(len(images))[: len(images) // BATCH * BATCH]
        for batch in order.reshape(-1, BATCH):
            told_apart = self.teach_discriminator(images[batch])
            passed = self.teach_generator(BATCH)
        return told_apart, passed


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    images = (this.data.train_images[..., None] / 127.5 - 1).astype("float32")
    epochs = 1 if this.quick else 12
    game = Game()
    same_noise = game.noise(14)

    print("\nepoch   loss of the discriminator   of the generator   generated images")
    history, drawn = [], {}
    for epoch in range(1, epochs + 1):
        history.append(game.epoch(images))
        made = game.generator.predict(same_noise, verbose=0)
        drawn[epoch] = made[..., 0]
        told_apart, passed = history[-1]
        contrast = made.std(axis=0).mean()
        print(
            f"{epoch:>5}{told_apart:>28.3f}{passed:>19.3f}   "
            f"from {made.min():+.2f} to {made.max():+.2f}, differ by {contrast:.2f}",
            flush=True,
        )
    print("A generator that only ever makes one image would differ by 0.")
    # log 2, and that of the labels 0.9 and 0, half of each, told by p = 0.9 / 2.
    print(f"If nobody could tell them apart: {-(0.45 * np.log(0.45) + 0.55 * np.log(0.55)):.3f}.")

    shown = np.unique(np.geomspace(1, epochs, 6).round().astype(int))
    this.save(draw(this.data, {epoch: drawn[epoch] for epoch in shown}, history), "gan")
    return this.end()


def draw(data, drawn: dict[int, np.ndarray], history: list[tuple[float, float]]):
    figure = pyplot.figure(figsize=(style.WIDTH, 6.6))
    top, bottom = figure.subfigures(2, 1, height_ratios=[3.4, 1.5])
    rows = {f"epoch {epoch}": made for epoch, made in drawn.items()}
    rows["real"] = data.train_images[:14] / 127.5 - 1
    for axes, (name, images) in zip(top.subplots(len(rows), 14), rows.items()):
        for axis, image in zip(axes, images):
            axis.imshow(-image, cmap="gray", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
    top.suptitle("Generated images: the same random numbers in each column", fontsize=10.5)

    axis = bottom.subplots()
    epochs = np.arange(1, len(history) + 1)
    told_apart, passed = np.array(history).T
    colour = style.LOSSES["BinaryCrossentropy"].colour
    axis.plot(epochs, passed, color=colour, label="generator")
    axis.plot(epochs, told_apart, color=style.INK, linestyle="--", label="discriminator")
    axis.set(title="Binary cross-entropy of each", xlabel="epoch", ylabel="loss")
    axis.set_ylim(0, 1.15 * max(passed.max(), told_apart.max()))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.label_lines(axis, {"generator": "generator", "discriminator": "discriminator"}, gap=0.15)
    return figure


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#
#     epoch   loss of the discriminator   of the generator   generated images
#         1                       0.677              0.835   from -1.00 to +1.00, differ by 0.49
#         2                       0.623              0.954   from -1.00 to +1.00, differ by 0.48
#         3                       0.576              0.996   from -1.00 to +1.00, differ by 0.46
#         4                       0.610              0.885   from -1.00 to +1.00, differ by 0.48
#         5                       0.614              1.194   from -1.00 to +1.00, differ by 0.46
#         6                       0.658              1.071   from -1.00 to +1.00, differ by 0.48
#         7                       0.653              0.998   from -1.00 to +1.00, differ by 0.50
#         8                       0.633              0.907   from -1.00 to +1.00, differ by 0.49
#         9                       0.652              0.945   from -1.00 to +1.00, differ by 0.49
#        10                       0.654              0.957   from -1.00 to +1.00, differ by 0.48
#        11                       0.671              0.897   from -1.00 to +1.00, differ by 0.50
#        12                       0.673              0.858   from -1.00 to +1.00, differ by 0.51
#     A generator that only ever makes one image would differ by 0.
#     If nobody could tell them apart: 0.688.
