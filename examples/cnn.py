"""A convolutional network, with the recipe by which images are learned.

    python examples/cnn.py

What you will see: the same network trained twice, with the same number of updates. Once by Momentum
at a rate that stays as it is; once by what has become the recipe for images, each part of it an
argument of the optimizer or the loss:

    optimizers.Momentum(
        keras.optimizers.schedules.CosineDecay(…),    # the rate falls to 0, and noise with it
        momentum=0.9, nesterov=True,
        weight_decay=5e-4,                            # decoupled, not for biases
    )
    losses.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.05)

The picture has the accuracies, the confusion of classes, and the images on which the network was
surest of what is wrong: some of them would deceive anybody, and some are labelled wrongly.
"""

from __future__ import annotations

import math
import sys

import keras
import lesson
import numpy as np
import style
from fashion_mnist_data import CLASSES
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from keras_optim_losses import losses, optimizers

BATCH = 128


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    stack = [
        keras.Input((28, 28)),
        layers.Rescaling(1 / 255),
        layers.Reshape((28, 28, 1)),
    ]
    for filters in (24, 48, 96):
        stack += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dropout(0.3), layers.Dense(10)])


def batches(images: int) -> int:
    """Of an epoch, when a tenth of the images validates."""
    return math.ceil(int(images * 0.9) / BATCH)


def plain(updates: int) -> tuple[keras.optimizers.Optimizer, keras.losses.Loss]:
    return optimizers.Momentum(0.05), losses.SparseCategoricalCrossentropy(from_logits=True)


def recipe(updates: int) -> tuple[keras.optimizers.Optimizer, keras.losses.Loss]:
    optimizer = optimizers.Momentum(
        keras.optimizers.schedules.CosineDecay(0.05, updates),
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.05)
    return optimizer, loss


CHOICES = {"plain": plain, "recipe": recipe}
# Both are Momentum.
COLOUR = style.OPTIMIZERS["Momentum"].colour
LOOKS = {"plain": style.Look(COLOUR, (0, (4, 2))), "recipe": style.Look(COLOUR)}


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    data = this.data
    epochs = 1 if this.quick else 6
    updates = epochs * batches(len(data.train_images))

    histories, models = {}, {}
    for name, choice in CHOICES.items():
        model = models[name] = network()
        optimizer, loss = choice(updates)
        model.compile(optimizer, loss, metrics=["accuracy"])
        histories[name] = model.fit(
            data.train_images,
            data.train_labels,
            batch_size=BATCH,
            epochs=epochs,
            validation_split=0.1,
            verbose=0,
        ).history
        print(f"\n{name}, accuracy on images that were not trained on, after each epoch:")
        print("  " + ", ".join(f"{a:.1%}" for a in histories[name]["val_accuracy"]))

    logits = {
        name: model.predict(data.test_images, batch_size=1000, verbose=0)
        for name, model in models.items()
    }
    print()
    for name, values in logits.items():
        right = values.argmax(axis=1) == data.test_labels
        print(f"{name}: test accuracy {right.mean():.2%} after {epochs} epochs")
    p = keras.ops.convert_to_numpy(keras.ops.softmax(logits["recipe"]))
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (data.test_labels, p.argmax(axis=1)), 1)
    wrong = confusion - np.diag(np.diag(confusion))
    true, said = np.unravel_index(wrong.argmax(), wrong.shape)
    times = wrong[true, said]
    print(f"Most often wrong: {times} times {CLASSES[said]}, where it is {CLASSES[true]}.")

    this.save(draw(histories, confusion, data, p), "cnn")
    return this.end()


def draw(histories, confusion: np.ndarray, data, p: np.ndarray):
    figure = pyplot.figure(figsize=(style.WIDTH, 7.6))
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    left, right = top.subplots(1, 2, width_ratios=[1, 1.1])
    for name, history in histories.items():
        epochs = np.arange(1, len(history["val_accuracy"]) + 1)
        left.plot(epochs, history["val_accuracy"], label=name, **LOOKS[name].line)
    left.set(title="Validation images", xlabel="epoch", ylabel="accuracy")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylim(left.get_ylim())
    style.label_lines(left, {name: name for name in histories})

    share = confusion / confusion.sum(axis=1, keepdims=True)
    right.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1.2)
    for i in range(10):
        for j in range(10):
            text = f"{100 * share[i, j]:.0f}"
            if text != "0":
                colour = "white" if share[i, j] > 0.5 else style.INK
                right.text(j, i, text, ha="center", va="center", fontsize=7.5, color=colour)
    right.set(title="Test images, % of a class", xlabel="the network says", ylabel="it is")
    right.set_xticks(range(10), CLASSES, rotation=90)
    right.set_yticks(range(10), CLASSES)
    right.grid(False)

    said = p.argmax(axis=1)
    sure = np.where(said == data.test_labels, 0, p.max(axis=1))
    axes = bottom.subplots(2, 8)
    for axis, i in zip(axes.flat, np.argsort(-sure)):
        axis.imshow(255 - data.test_images[i], cmap="gray", vmin=0, vmax=255)
        axis.set_axis_off()
        text = f"{CLASSES[said[i]]} {sure[i]:.0%}\nlabel: {CLASSES[data.test_labels[i]]}"
        axis.set_title(text, fontsize=7.5, fontweight="normal", loc="center")
    bottom.suptitle("Where it was surest of what is wrong", fontsize=10.5)
    return figure


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#
#     plain, accuracy on images that were not trained on, after each epoch:
#       87.5%, 89.0%, 89.7%, 90.3%, 90.7%, 90.8%
#
#     recipe, accuracy on images that were not trained on, after each epoch:
#       86.8%, 88.3%, 90.1%, 90.6%, 91.1%, 91.2%
#
#     plain: test accuracy 90.21% after 6 epochs
#     recipe: test accuracy 90.65% after 6 epochs
#     Most often wrong: 123 times T-shirt, where it is shirt.
