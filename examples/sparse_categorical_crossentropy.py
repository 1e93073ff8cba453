"""Sparse categorical cross-entropy: one class out of ten, labels are integers.

    python examples/sparse_categorical_crossentropy.py

| what belongs to it | |
|---|---|
| labels | integers (n,) from 0 to 9: the class itself |
| output layer | `Dense(10)`, no activation, and `from_logits=True` |
| or | `Dense(10, activation="softmax")`, and `from_logits=False` |
| accuracy | `SparseCategoricalAccuracy`: how often the largest output is that of the class |

What you will see:

1. It is `CategoricalCrossentropy` without the rows. Two models, one trained by integers and one by
   one-hot rows, have the same weights after every epoch, bit for bit. "Sparse" says how a label is
   written down, and nothing about the model.
2. What the rows would cost: 4 bytes a class for each label.
3. The neighbour's labels, and labels that start at 1: an error that says what to do.
4. What integers can do and rows can not: one value that means "do not ask". A network says for each
   pixel of a picture which garment it belongs to; `ignore_class` leaves out the background.
"""

from __future__ import annotations

import sys

import keras
import lesson
import numpy as np
import style
from fashion_mnist_data import CLASSES
from matplotlib import pyplot
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from mosaics import mosaics

from keras_optim_losses import losses, optimizers

BACKGROUND = 255


def classifier(loss: keras.losses.Loss, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(optimizers.Adam(), loss, metrics=["accuracy"])
    return model


def weights(model: keras.Model) -> np.ndarray:
    """All weights in a row."""
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def side_by_side(
    images: np.ndarray, labels: np.ndarray, epochs: int
) -> tuple[dict[str, list[float]], list[float], list[float]]:
    """Train with integers and with one-hot rows, and with integers from another start.

    Returns:
        The training losses of the first two; after each epoch, the largest difference of a weight
        between these two; and the same between the two that started apart.
    """
    one_hot = keras.utils.to_categorical(labels, 10)
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True)
    dense = losses.CategoricalCrossentropy(from_logits=True)
    runs = {
        "integers": (classifier(sparse), labels),
        "one-hot rows": (classifier(dense), one_hot),
        "another start": (classifier(sparse, seed=1), labels),
    }
    curves: dict[str, list[float]] = {name: [] for name in runs}
    same, other = [], []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(images))
        for name, (model, y) in runs.items():
            history = model.fit(
                images[order], y[order], batch_size=128, shuffle=False, verbose=0
            ).history
            curves[name].append(history["loss"][0])
        integers, rows, apart = (weights(model) for model, _ in runs.values())
        same.append(float(np.abs(integers - rows).max()))
        other.append(float(np.abs(integers - apart).max()))
    return curves, same, other


def pixel_labels(pictures: np.ndarray, quarters: np.ndarray) -> np.ndarray:
    """The class of each pixel's garment, uint8 (n, 56, 56), and 255 where there is none."""
    classes = quarters.repeat(28, axis=1).repeat(28, axis=2)
    return np.where(pictures > 0, classes, BACKGROUND).astype("uint8")


def segmenter() -> keras.Model:
    """Pictures (n, 56, 56) to logits of each pixel (n, 56, 56, 10): down, across, up again."""
    layers = keras.layers
    start = keras.Input((56, 56))
    x = layers.Reshape((56, 56, 1))(layers.Rescaling(1 / 255)(start))
    fine = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    middle = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(fine)
    x = layers.Conv2D(48, 3, strides=2, padding="same", activation="relu")(middle)
    x = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(96, 1, activation="relu")(layers.UpSampling2D(4)(x))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(layers.Concatenate()([x, middle]))
    x = layers.Concatenate()([layers.UpSampling2D(2)(x), fine])
    return keras.Model(start, layers.Conv2D(10, 3, padding="same")(x))


def errors(loss: keras.losses.Loss) -> None:
    """What an eager call says to labels that do not belong to the loss."""
    logits = np.zeros((2, 10), "float32")
    for case, labels in {
        "one-hot rows": keras.utils.to_categorical([3, 7], 10),
        "classes from 1 to 10": np.array([1, 10]),
    }.items():
        print(f"\n{case[0].upper()}{case[1:]} in the place of integers from 0 to 9:")
        try:
            loss(labels, logits)
        except ValueError as error:
            print(f"  ValueError: {error}")
    model = classifier(loss)
    try:
        value, _ = model.evaluate(np.zeros((2, 28, 28)), np.array([1, 10]), verbose=0)
        result = f"a loss of {value}, for compiled code can not raise"
    except ValueError:
        result = "the same error, for PyTorch computes eagerly there, too"
    print(f"  In `fit` and `evaluate`: {result}.")


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    data = this.data

    curves, same, other = side_by_side(
        data.train_images, data.train_labels, epochs=1 if this.quick else 8
    )
    print("\nepoch   loss of integers   loss of one-hot rows   largest difference of a weight")
    for i, (one, two) in enumerate(zip(curves["integers"], curves["one-hot rows"])):
        print(f"{i + 1:>5}{one:>19.9f}{two:>23.9f}{same[i]:>33}")
    identical = not any(same) and curves["integers"] == curves["one-hot rows"]
    print("The same, bit for bit." if identical else "NOT the same.")
    print(f"From another start the weights differ by up to {other[-1]:.2f}.")

    print("\nBytes for a million labels:  classes       integers     one-hot rows, float32")
    for classes in (10, 1_000, 50_000):
        print(f"{classes:>36,}{4 * 10**6:>15,}{4 * 10**6 * classes:>26,}")

    errors(losses.SparseCategoricalCrossentropy(from_logits=True))

    pictures, quarters = mosaics(
        data.train_images, data.train_labels, 160 if this.quick else 12_000, most=4, seed=0
    )
    model = segmenter()
    # The background would be the easiest class and two pixels of three: it is not asked for.
    ignoring = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=BACKGROUND)
    model.compile(optimizers.Adam(2e-3), ignoring)
    model.fit(
        pictures,
        pixel_labels(pictures, quarters),
        batch_size=32,
        epochs=1 if this.quick else 4,
        verbose=0,
    )
    pictures, quarters = mosaics(
        data.test_images, data.test_labels, 50 if this.quick else 1_000, most=4, seed=1
    )
    truth = pixel_labels(pictures, quarters)
    said = model.predict(pictures, batch_size=50, verbose=0).argmax(axis=-1)
    asked = truth != BACKGROUND
    print(
        f"\nPixels: {asked.mean():.0%} belong to a garment; of these "
        f"{(said == truth)[asked].mean():.1%} get the right class."
    )

    full = (quarters >= 0).sum(axis=(1, 2)) >= 3
    shown = [x[full][:7] for x in (pictures, truth, said)]
    this.save(draw(curves, same, other, *shown), "sparse_categorical_crossentropy")
    return this.end()


def draw(curves, same, other, pictures, truth, said):
    figure = pyplot.figure(figsize=(style.WIDTH, 7.4))
    top, bottom = figure.subfigures(2, 1, height_ratios=[3, 4.2])
    left, right = top.subplots(1, 2)
    epochs = np.arange(1, len(same) + 1)
    dense, sparse = (
        style.LOSSES[name] for name in ("CategoricalCrossentropy", "SparseCategoricalCrossentropy")
    )
    left.plot(epochs, curves["one-hot rows"], label="one-hot rows", **dense.line)
    left.plot(epochs, curves["integers"], label="integers", **sparse.line)
    left.set(title="One curve, drawn twice", xlabel="epoch", ylabel="training loss")
    left.legend()
    right.plot(epochs, other, "o-", color=style.FAINT, label="integers, another start")
    right.plot(epochs, same, "o-", color=dense.colour, label="integers and one-hot rows: 0")
    right.set(
        title="How far two models are apart",
        xlabel="epoch",
        ylabel="largest difference of a weight",
        ylim=(-0.05 * max(other), 1.45 * max(other)),
    )
    right.legend(loc="upper left")
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))

    axes = bottom.subplots(3, 7)
    colours = ListedColormap([*pyplot.get_cmap("tab10").colors, "#FFFFFF"])
    classes = np.minimum(truth, 10)
    for i, column in enumerate(axes.T):
        column[0].imshow(255 - pictures[i], cmap="gray", vmin=0, vmax=255)
        column[1].imshow(classes[i], cmap=colours, vmin=-0.5, vmax=10.5, interpolation="nearest")
        answer = np.where(truth[i] == BACKGROUND, 10, said[i])
        column[2].imshow(answer, cmap=colours, vmin=-0.5, vmax=10.5, interpolation="nearest")
        for axis in column:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, name in zip(axes[:, 0], ("picture", "labels", "answer")):
        axis.set_ylabel(name)
    bottom.suptitle("A class for each pixel; white has the label that is ignored", fontsize=10.5)
    handles = [Patch(color=colours(i), label=name) for i, name in enumerate(CLASSES)]
    bottom.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#
#     epoch   loss of integers   loss of one-hot rows   largest difference of a weight
#         1        0.549871564            0.549871564                              0.0
#         2        0.408017427            0.408017427                              0.0
#         3        0.366985023            0.366985023                              0.0
#         4        0.339555383            0.339555383                              0.0
#         5        0.319626778            0.319626778                              0.0
#         6        0.309769899            0.309769899                              0.0
#         7        0.292598724            0.292598724                              0.0
#         8        0.283551365            0.283551365                              0.0
#     The same, bit for bit.
#     From another start the weights differ by up to 1.31.
#
#     Bytes for a million labels:  classes       integers     one-hot rows, float32
#                                       10      4,000,000                40,000,000
#                                    1,000      4,000,000             4,000,000,000
#                                   50,000      4,000,000           200,000,000,000
#
#     One-hot rows in the place of integers from 0 to 9:
#       ValueError: `y_true` must have shape (2,) for `y_pred` of shape (2, 10). Received: y_true of
#         shape (2, 10). One-hot rows belong to CategoricalCrossentropy.
#
#     Classes from 1 to 10 in the place of integers from 0 to 9:
#       ValueError: Labels of SparseCategoricalCrossentropy must be whole numbers from 0 to the
#         number of classes less 1. If they start at 1, subtract 1; to leave a value out, give it as
#         `ignore_class`. Received: y_true with 10 among its entries (1 of 2 are out of range).
#       In `fit` and `evaluate`: a loss of nan, for compiled code can not raise.
#
#     Pixels: 31% belong to a garment; of these 80.3% get the right class.
