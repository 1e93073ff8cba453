"""Binary cross-entropy: questions that are answered by yes or no, each by itself.

    python examples/binary_crossentropy.py

| what belongs to it | |
|---|---|
| labels | 0 or 1: (n,) for one question, (n, questions) for several |
| output layer | `Dense(questions)`, no activation, and `from_logits=True` |
| or | `Dense(questions, activation="sigmoid")`, and `from_logits=False` |
| accuracy | `BinaryAccuracy(threshold=0.0)` for logits, 0.5 for probabilities |

What you will see:

1. One class against the rest: "is it a shirt?" One image in ten is, so the model that always says
   no is right nine times of ten: an accuracy of 90% means nothing here. Recall (how many of the
   shirts are found) and precision (how many of what is found are shirts) do. `pos_weight` moves
   between them: a shirt that is missed costs as much as that many false alarms.
2. Several questions about one picture: "which garments are in it?", from one to four of them. Ten
   units with a sigmoid each answer by themselves. The neighbour's choice, a softmax, has one
   certainty to share among all: two garments get a half each, four a quarter. For pictures of one
   it does best, and no threshold fits them and the others, too.
3. `Dense(1, activation="softmax")`: the softmax of one number is 1. It learns nothing.
"""

from __future__ import annotations

import sys
import warnings

import keras
import lesson
import numpy as np
import style
from fashion_mnist_data import CLASSES
from matplotlib import pyplot
from mosaics import mosaics

from keras_optim_losses import losses, optimizers

SHIRT = CLASSES.index("shirt")


def one_question(
    this: lesson.Lesson, loss: keras.losses.Loss, activation: str | None, epochs: int
) -> tuple[np.ndarray, float]:
    """Ask "is it a shirt?": the outputs for the test images (n,), and Keras' accuracy."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(1, activation=activation),
        ]
    )
    threshold = 0.0 if activation is None else 0.5
    accuracy = keras.metrics.BinaryAccuracy(threshold=threshold)
    model.compile(optimizers.Adam(), loss, metrics=[accuracy])
    data = this.data
    is_shirt = (data.train_labels == SHIRT).astype("uint8")
    model.fit(data.train_images, is_shirt, batch_size=128, epochs=epochs, verbose=0)
    _, right = model.evaluate(
        data.test_images, data.test_labels == SHIRT, batch_size=1000, verbose=0
    )
    return model.predict(data.test_images, batch_size=1000, verbose=0)[:, 0], right


def recall_and_precision(yes: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Of what is true, how much was said; of what was said, how much is true."""
    found = (yes & truth).sum()
    return float(found / max(truth.sum(), 1)), float(found / max(yes.sum(), 1))


def multi_hot(quarters: np.ndarray) -> np.ndarray:
    """Which classes are among the quarters (n, 2, 2): float32 (n, 10) of 0 and 1."""
    there = (quarters[..., None] == np.arange(len(CLASSES))).any(axis=(1, 2))
    return there.astype("float32")


def several_questions(
    loss: keras.losses.Loss, pictures: np.ndarray, labels: np.ndarray, epochs: int
) -> keras.Model:
    """Ask "is there a coat, a bag, …?" of pictures (n, 56, 56); ten logits."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((56, 56)),
            layers.Rescaling(1 / 255),
            layers.Reshape((56, 56, 1)),
            layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(128, 5, strides=2, padding="same", activation="relu"),
            # A garment is there if it is in any place.
            layers.GlobalMaxPooling2D(),
            layers.Dense(len(CLASSES)),
        ]
    )
    model.compile(optimizers.Adam(2e-3), loss)
    model.fit(pictures, labels, batch_size=64, epochs=epochs, verbose=0)
    return model


def all_right(p: np.ndarray, truth: np.ndarray, threshold: float) -> np.ndarray:
    """For each picture, whether all ten questions are answered rightly."""
    return ((p > threshold) == (truth > 0)).all(axis=1)


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    epochs = 1 if this.quick else 8

    truth = this.data.test_labels == SHIRT
    share = truth.mean()
    print(f"\nIs it a shirt? {share:.0%} are. Always to say no is right in {1 - share:.0%}.")
    print(f"{'pos_weight':>12}{'accuracy':>12}{'recall':>12}{'precision':>12}")
    found = {}
    for weight in (9,) if this.quick else (1, 3, 9, 27):
        loss = losses.BinaryCrossentropy(from_logits=True, pos_weight=weight)
        logits, accuracy = one_question(this, loss, None, epochs)
        recall, precision = recall_and_precision(logits > 0, truth)
        found[weight] = recall, precision, logits
        print(f"{weight:>12}{accuracy:>12.1%}{recall:>12.1%}{precision:>12.1%}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of just this
        outputs, accuracy = one_question(this, losses.BinaryCrossentropy(), "softmax", 1)
    print(
        f"With a softmax all outputs are from {outputs.min():.0%} to {outputs.max():.0%}, "
        f"and right in {accuracy:.0%}."
    )

    number = 320 if this.quick else 20_000
    pictures, quarters = mosaics(
        this.data.train_images, this.data.train_labels, number, most=4, seed=0
    )
    labels = multi_hot(quarters)
    sigmoid = several_questions(
        losses.BinaryCrossentropy(from_logits=True), pictures, labels, epochs
    )
    # Rows of probabilities, each garment's share: the nearest that a softmax can be given.
    softmax = several_questions(
        losses.CategoricalCrossentropy(from_logits=True),
        pictures,
        labels / labels.sum(axis=1, keepdims=True),
        epochs,
    )
    pictures, quarters = mosaics(
        this.data.test_images, this.data.test_labels, number // 5, most=4, seed=1
    )
    labels = multi_hot(quarters)
    says = {}
    for name, model in (("sigmoid", sigmoid), ("softmax", softmax)):
        logits = keras.ops.convert_to_tensor(model.predict(pictures, batch_size=100, verbose=0))
        says[name] = keras.ops.convert_to_numpy(keras.activations.get(name)(logits))
    thresholds = np.linspace(0.01, 0.99, 99)
    best = max(thresholds, key=lambda at: all_right(says["softmax"], labels, at).mean())
    judged = {
        "ten sigmoids, threshold 0.5": all_right(says["sigmoid"], labels, 0.5),
        "softmax, threshold 0.5": all_right(says["softmax"], labels, 0.5),
        f"softmax, best threshold {best:.2f}": all_right(says["softmax"], labels, best),
    }
    kinds = labels.sum(axis=1).astype(int)
    print("\nAll ten questions right, in pictures of 1, 2, 3, 4 kinds of garments:")
    shares = {}
    for name, right in judged.items():
        shares[name] = [right[kinds == k].mean() for k in (1, 2, 3, 4)]
        print(f"  {name:32}", "".join(f"{share:>8.1%}" for share in shares[name]))

    this.save(draw(found, truth, shares, pictures, labels, says), "binary_crossentropy")
    return this.end()


def draw(found, truth, shares, pictures, labels, says):
    figure = pyplot.figure(figsize=(style.WIDTH, 7.2))
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1])
    left, right = top.subplots(1, 2)
    weights = list(found)
    recall, precision = ([found[w][i] for w in weights] for i in (0, 1))
    colour = style.LOSSES["BinaryCrossentropy"].colour
    left.plot(weights, recall, "o-", color=colour, label="recall: shirts that are found")
    left.plot(weights, precision, "s--", color=style.INK, label="precision: finds that are shirts")
    left.set_xscale("log")
    left.set(title="Is it a shirt?", xlabel="pos_weight", ylabel="share")
    left.set(xticks=weights, xticklabels=weights)
    left.minorticks_off()
    left.set(ylim=(-0.03, 1.45), yticks=np.linspace(0, 1, 6))
    left.legend(loc="upper left")
    looks = [(colour, "o-"), (style.ORANGE, "s--"), (style.VERMILION, "D:")]
    for (name, values), (line, marker) in zip(shares.items(), looks):
        right.plot([1, 2, 3, 4], values, marker, color=line, label=name)
    right.set(
        title="Which garments are there?",
        xlabel="kinds of garments in the picture",
        xticks=[1, 2, 3, 4],
        ylabel="share with all ten answers right",
        ylim=(-0.03, 1.45),
        yticks=np.linspace(0, 1, 6),
    )
    right.legend(loc="upper left")

    kinds = labels.sum(axis=1)
    axes = bottom.subplots(2, 4, height_ratios=[1, 1.5])
    places = np.arange(len(CLASSES))
    for count, (above, below) in enumerate(axes.T, start=1):
        chosen = int(np.flatnonzero(kinds == count)[0])
        above.imshow(255 - pictures[chosen], cmap="gray", vmin=0, vmax=255)
        above.set_axis_off()
        for place in np.flatnonzero(labels[chosen]):
            there = below.axhspan(place - 0.5, place + 0.5, color="#E2E2E2", label="is there")
        below.barh(places - 0.2, says["sigmoid"][chosen], 0.38, color=colour, label="ten sigmoids")
        below.barh(places + 0.2, says["softmax"][chosen], 0.38, color=style.ORANGE, label="softmax")
        below.axvline(0.5, color=style.INK, linewidth=0.8, linestyle=":")
        below.set(xlim=(0, 1), xticks=(0, 0.5, 1), xlabel="probability")
        below.set(yticks=places, yticklabels=[])
        below.grid(axis="y", visible=False)
        below.invert_yaxis()
    axes[1, 0].set_yticklabels(CLASSES)
    style.legend_below(bottom, [there, *axes[1, 0].containers])
    return figure


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#
#     Is it a shirt? 10% are. Always to say no is right in 90%.
#       pos_weight    accuracy      recall   precision
#                1       94.0%       58.4%       75.7%
#                3       93.0%       75.5%       62.2%
#                9       88.6%       88.5%       46.4%
#               27       84.2%       93.5%       38.2%
#     With a softmax all outputs are from 100% to 100%, and right in 10%.
#
#     All ten questions right, in pictures of 1, 2, 3, 4 kinds of garments:
#       ten sigmoids, threshold 0.5         75.6%   54.1%   39.4%   27.5%
#       softmax, threshold 0.5              82.4%    0.0%    0.0%    0.0%
#       softmax, best threshold 0.10        64.9%   48.9%   30.2%   12.6%
