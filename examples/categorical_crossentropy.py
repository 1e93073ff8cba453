"""Categorical cross-entropy: one class out of ten, labels are one-hot rows.

    python examples/categorical_crossentropy.py

| what belongs to it | |
|---|---|
| labels | one-hot rows (n, 10), or any row of probabilities |
| output layer | `Dense(10)`, no activation, and `from_logits=True` |
| or | `Dense(10, activation="softmax")`, and `from_logits=False` |
| accuracy | `CategoricalAccuracy`: how often the largest output is that of the class |

What you will see: a classifier for Fashion-MNIST, and three of its neighbours.

1. Softmax given as logits. The loss takes the softmax of a softmax, whose inputs lie between 0
   and 1. So it can never be less than log(1 + 9/e) = 1.46, even where the model is perfect: if a
   loss of ten classes stops near 1.46, this is why.
2. Logits given as probabilities. Log p of a negative p does not exist.
3. Integer labels. They belong to `SparseCategoricalCrossentropy`, and the error says so.

And a thing that only rows can say: "91% a coat, and 1% each of the others". Trained with labels
that are smoothed like this a model is less sure of itself. The second panel shows whether it is as
sure as it is right: above the diagonal it is too modest, below it too sure.
"""

from __future__ import annotations

import math
import sys

import keras
import lesson
import numpy as np
import style
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from keras_optim_losses import losses, optimizers

CLASSES = 10
# Of a softmax that is given as logits: one of them 1, the others 0.
FLOOR = math.log(1 + (CLASSES - 1) / math.e)


def trained(
    this: lesson.Lesson, loss: keras.losses.Loss, activation: str | None, epochs: int
) -> tuple[keras.Model, list[float], float]:
    """A network trained with that loss; the loss of each epoch, and the accuracy on test images."""
    # Every run starts from the same weights and sees the same batches.
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(CLASSES, activation=activation),
        ]
    )
    model.compile(optimizers.Adam(), loss, metrics=[keras.metrics.CategoricalAccuracy()])
    data = this.data
    one_hot = keras.utils.to_categorical(data.train_labels, CLASSES)
    history = model.fit(data.train_images, one_hot, batch_size=128, epochs=epochs, verbose=0)
    _, accuracy = model.evaluate(
        data.test_images,
        keras.utils.to_categorical(data.test_labels, CLASSES),
        batch_size=1000,
        verbose=0,
    )
    return model, history.history["loss"], accuracy


def sureness(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """How sure a model is and how often it is right, for groups from unsure to sure.

    Args:
        model: gives logits.
        images, labels: to test it with, `bins` groups of the same size.

    Returns:
        The mean of the largest probability, and the accuracy, of each group.
    """
    logits = model.predict(images, batch_size=1000, verbose=0)
    p = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    groups = np.array_split(np.argsort(sure), bins)
    return np.array([[sure[g].mean(), right[g].mean()] for g in groups]).T


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    epochs = 1 if this.quick else 12
    logits = losses.CategoricalCrossentropy(from_logits=True)
    probabilities = losses.CategoricalCrossentropy()

    runs = {
        "logits as logits": trained(this, logits, None, epochs),
        "softmax as probabilities": trained(this, probabilities, "softmax", epochs),
        "softmax as logits": trained(this, logits, "softmax", epochs),
        "logits as probabilities": trained(this, probabilities, None, epochs),
    }
    print(f"\n{'the output, and how the loss takes it':40}{'loss':>8}{'test accuracy':>16}")
    for name, (_, history, accuracy) in runs.items():
        print(f"{name:40}{history[-1]:>8.3f}{accuracy:>16.1%}")
    print(f"The least loss that softmax as logits can reach: log(1 + 9/e) = {FLOOR:.3f}.")

    print("\nInteger labels in the place of one-hot rows:")
    try:
        logits(np.array([3, 7]), np.zeros((2, CLASSES), "float32"))
    except ValueError as error:
        print(f"  ValueError: {error}")

    print("\nLabel smoothing, and what the largest probability is worth on test images:")
    smoothed = {0.0: runs["logits as logits"]}
    for smoothing in (0.1,) if this.quick else (0.05, 0.1):
        loss = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        smoothed[smoothing] = trained(this, loss, None, epochs)
    groups = {}
    for smoothing, (model, _, accuracy) in smoothed.items():
        sure, right = sureness(model, this.data.test_images, this.data.test_labels, bins=10)
        groups[smoothing] = sure, right
        print(
            f"  smoothed by {smoothing:<4}: says it is {sure.mean():.1%} sure, is right in "
            f"{accuracy:.1%}; off by {np.abs(sure - right).mean():.1%} on average of ten groups"
        )

    this.save(draw(runs, groups), "categorical_crossentropy")
    return this.end()


LOOKS = {
    "logits as logits": style.LOSSES["CategoricalCrossentropy"],
    "softmax as probabilities": style.Look(style.SKY, (0, (3, 3))),
    "softmax as logits": style.Look(style.VERMILION),
    "logits as probabilities": style.Look(style.ORANGE, (0, (6, 1.5))),
}


def draw(runs, groups):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(style.WIDTH, 4.0))
    for name, (_, history, _) in runs.items():
        left.plot(np.arange(1, len(history) + 1), history, label=name, **LOOKS[name].line)
    left.axhline(FLOOR, color=style.INK, linewidth=0.8, linestyle=":")
    left.text(1, FLOOR * 0.9, "log(1 + 9/e)", va="top", fontsize=8.5)
    left.set(title="The same network, four readings", xlabel="epoch", ylabel="training loss")
    left.set(yscale="log", ylim=(0.1, 100))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.label_lines(left, {name: name for name in runs})

    colours = (style.LOSSES["CategoricalCrossentropy"].colour, style.SKY, style.GREEN)
    right.plot([0, 1], [0, 1], color=style.FAINT, linewidth=1)
    for (smoothing, (sure, correct)), colour, marker in zip(groups.items(), colours, "osD"):
        label = f"smoothed by {smoothing}" if smoothing else "one-hot rows"
        right.plot(sure, correct, marker=marker, color=colour, label=label)
    right.set(
        title="As sure as it is right?",
        xlabel="largest probability (means of a tenth)",
        ylabel="share of them that is right",
        xlim=(0.3, 1.02),
        ylim=(0.3, 1.02),
    )
    right.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#
#     the output, and how the loss takes it       loss   test accuracy
#     logits as logits                           0.196           87.5%
#     softmax as probabilities                   0.200           87.7%
#     softmax as logits                          1.640           80.8%
#     logits as probabilities                   53.520            6.0%
#     The least loss that softmax as logits can reach: log(1 + 9/e) = 1.461.
#
#     Integer labels in the place of one-hot rows:
#       ValueError: `y_true` must have shape (2, 10) for `y_pred` of shape (2, 10). Received: y_true
#         of shape (2,). Integer labels, one a sample, belong to SparseCategoricalCrossentropy;
#         `keras.utils.to_categorical(y_true, classes)` makes one-hot rows of them.
#
#     Label smoothing, and what the largest probability is worth on test images:
#       smoothed by 0.0 : says it is 91.0% sure, is right in 87.5%; off by 3.5% on average of ten
#         groups
#       smoothed by 0.05: says it is 86.7% sure, is right in 88.1%; off by 2.6% on average of ten
#         groups
#       smoothed by 0.1 : says it is 82.9% sure, is right in 87.8%; off by 4.8% on average of ten
#         groups
