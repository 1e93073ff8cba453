"""Mean squared error: for real values; and what it does to classes.

    python examples/mean_squared_error.py

| what belongs to it | |
|---|---|
| labels | real values (n, values), of the order of 1: scale them |
| output layer | `Dense(values)`, no activation |
| accuracy | there is none; the root of the loss has the unit of the values |

What you will see:

1. A regression: an autoencoder presses the 784 pixels of an image through 2, 8 or 32 numbers and
   paints it again. Its error beside that of PCA, the best that a linear one can do.
2. The neighbour's question: classes. MSE on the one-hot rows, behind a softmax, learns them too,
   but look what happens where the model starts out wrong and sure of it. A bias of b on one unit
   makes it say "T-shirt" to everything. The gradient of the cross-entropy is the error itself, p −
   y. That of the squared error carries a factor p(1 − p) besides, which is nearly 0 where p is
   nearly 0 or 1: the surer the mistake, the slower it is mended. Each loss is drawn at the best of
   four rates; that of MSE is ten times as large, for it is a mean over ten units.
3. Shapes that only seem to fit. Elsewhere (n, 3) against (n, 1) broadcasts; here it is an error.
"""

from __future__ import annotations

import sys

import keras
import lesson
import numpy as np
import style
from loss_and_gradient import loss_and_gradient
from matplotlib import pyplot

from keras_optim_losses import losses, optimizers

CLASSES = 10
CODES = (2, 8, 32)
BIASES = (0, 6, 12)
LOSSES = {
    "cross-entropy": losses.CategoricalCrossentropy,
    "squared error": losses.MeanSquaredError,
}
# Ten times as large for the squared error, for it is a mean over ten units.
RATES = {"cross-entropy": (0.03, 0.1, 0.3, 1.0), "squared error": (0.3, 1.0, 3.0, 10.0)}
LOOKS = {
    "cross-entropy": style.LOSSES["CategoricalCrossentropy"],
    "squared error": style.LOSSES["MeanSquaredError"],
}


def autoencoder(numbers: int) -> keras.Model:
    """Images of 0 to 1 (n, 784) to themselves, through that many numbers."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(256, activation="relu"),
            layers.Dense(numbers),
            layers.Dense(256, activation="relu"),
            layers.Dense(784),
        ]
    )
    model.compile(optimizers.Adam(), losses.MeanSquaredError())
    return model


def painted(
    train: np.ndarray, test: np.ndarray, codes: tuple[int, ...], epochs: int
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """The test images painted again, by autoencoders and by PCA, through so many numbers each."""
    learned, linear = {}, {}
    mean = train.mean(axis=0)
    # Rows of `directions` are the principal components.
    _, directions = np.linalg.eigh(np.cov(train[:10_000], rowvar=False))
    directions = directions.T[::-1].astype("float32")
    for numbers in codes:
        keras.utils.set_random_seed(0)
        model = autoencoder(numbers)
        model.fit(train, train, batch_size=128, epochs=epochs, verbose=0)
        learned[numbers] = model.predict(test, batch_size=1000, verbose=0)
        chosen = directions[:numbers]
        linear[numbers] = mean + (test - mean) @ chosen.T @ chosen
    return learned, linear


def sure_of_a_mistake(
    images: np.ndarray, labels: np.ndarray, parts: int, name: str, bias: float, rate: float
) -> list[float]:
    """Training accuracy of a network that starts out sure of class 0, for each part of the images.

    Args:
        images, labels: uint8 (n, 28, 28) and (n,), seen once.
        parts: how many.
        name: of the loss, as in `LOSSES`.
        bias: what the unit of class 0 has more than the others.
        rate: the learning rate.
    """
    keras.utils.set_random_seed(0)
    layers = keras.layers
    last = layers.Dense(CLASSES, activation="softmax")
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            last,
        ]
    )
    kernel, _ = last.get_weights()
    last.set_weights([kernel, bias * np.eye(CLASSES)[0]])
    # SGD, for Adam divides by the size of the gradient and hides that it is small.
    model.compile(optimizers.SGD(rate), LOSSES[name](), metrics=["categorical_accuracy"])
    one_hot = keras.utils.to_categorical(labels, CLASSES)
    accuracies = []
    for part in np.array_split(np.arange(len(images)), parts):
        history = model.fit(images[part], one_hot[part], batch_size=64, shuffle=False, verbose=0)
        accuracies.append(history.history["categorical_accuracy"][0])
    return accuracies


def gradient_norms(biases: np.ndarray) -> dict[str, np.ndarray]:
    """The length of the gradient by the logits, for a model that is by `bias` sure of a mistake."""
    z = np.outer(biases, np.eye(CLASSES)[0])
    truth = keras.utils.to_categorical(np.ones(len(z)), CLASSES)
    return {
        name: np.linalg.norm(
            loss_and_gradient(loss(reduction="sum"), truth, z, "softmax")[1], axis=1
        )
        for name, loss in LOSSES.items()
    }


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments)
    train, test = (
        (images.reshape(-1, 784) / 255).astype("float32")
        for images in (this.data.train_images, this.data.test_images)
    )
    codes, epochs = (CODES[:1], 1) if this.quick else (CODES, 8)
    learned, linear = painted(train, test, codes, epochs)
    print("\nThe error of a pixel, from 0 black to 1 white, root of the mean squared error:")
    print(f"{'numbers in between':>20}{'autoencoder':>14}{'PCA':>10}")
    for numbers in learned:
        errors = [np.sqrt(np.mean((x[numbers] - test) ** 2)) for x in (learned, linear)]
        print(f"{numbers:>20}{errors[0]:>14.3f}{errors[1]:>10.3f}")

    biases = np.linspace(0, 16, 9 if this.quick else 65)
    norms = gradient_norms(biases)
    print('\nThe length of the gradient, for a model that says "T-shirt" to trousers:')
    for at in (0, len(biases) // 2, len(biases) - 1):
        told = ", ".join(f"{name} {norm[at]:.2g}" for name, norm in norms.items())
        print(f"  by a bias of {biases[at]:2.0f}: {told}")

    number, parts = (1_000, 4) if this.quick else (20_000, 20)
    images, labels = this.data.train_images[:number], this.data.train_labels[:number]
    curves: dict[str, dict[float, list[float]]] = {name: {} for name in LOSSES}
    print("\nMean accuracy over the first pass, at the best of four rates:")
    for name, rates in RATES.items():
        for bias in BIASES[-1:] if this.quick else BIASES:
            runs = {
                rate: sure_of_a_mistake(images, labels, parts, name, bias, rate)
                for rate in (rates[1:2] if this.quick else rates)
            }
            best = max(runs, key=lambda rate: np.mean(runs[rate]))
            curves[name][bias] = runs[best]
            print(f"  {name}, bias {bias}: {np.mean(runs[best]):.1%} at rate {best:g}")

    print("\nThree values for a row where the model gives one:")
    try:
        losses.MeanSquaredError()(np.ones((4, 3)), np.zeros((4, 1)))
    except ValueError as error:
        print(f"  ValueError: {error}")

    seen = (np.arange(parts) + 1) * number / parts
    this.save(draw(test, learned, biases, norms, curves, seen), "mean_squared_error")
    return this.end()


def draw(test, learned, biases, norms, curves, seen):
    figure = pyplot.figure(figsize=(style.WIDTH, 7.6))
    top, bottom = figure.subfigures(2, 1, height_ratios=[3.6, 4])
    rows = {"image": test, **{f"{n} numbers": learned[n] for n in reversed(learned)}}
    axes = top.subplots(len(rows), 10)
    for row, (name, images_of_row) in zip(axes, rows.items()):
        for i, axis in enumerate(row):
            axis.imshow(1 - images_of_row[i].reshape(28, 28), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    top.suptitle("Test images, and what an autoencoder makes of them", fontsize=10.5)

    shown = list(curves["squared error"])
    left, *others = bottom.subplots(1, 1 + len(shown), width_ratios=[1.5] + [1] * len(shown))
    for name, norm in norms.items():
        left.semilogy(biases, norm, label=name, **LOOKS[name].line)
    left.set(title="Sure of a mistake", xlabel="bias of the wrong class", ylabel="‖∂loss/∂z‖")
    for axis, bias in zip(others, shown):
        for name in curves:
            axis.plot(seen / 1000, curves[name][bias], **LOOKS[name].line)
        axis.set(title=f"bias {bias}", xlabel="thousands of images seen", ylim=(0, 1))
    for axis in others[1:]:
        axis.set_yticklabels([])
    others[0].set_ylabel("accuracy")
    style.legend_below(bottom, left.get_legend_handles_labels()[0])
    return figure


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#
#     The error of a pixel, from 0 black to 1 white, root of the mean squared error:
#       numbers in between   autoencoder       PCA
#                        2         0.171     0.215
#                        8         0.127     0.163
#                       32         0.105     0.123
#
#     The length of the gradient, for a model that says "T-shirt" to trousers:
#       by a bias of  0: cross-entropy 0.95, squared error 0.019
#       by a bias of  8: cross-entropy 1.4, squared error 0.0007
#       by a bias of 16: cross-entropy 1.4, squared error 2.5e-07
#
#     Mean accuracy over the first pass, at the best of four rates:
#       cross-entropy, bias 0: 74.1% at rate 0.1
#       cross-entropy, bias 6: 72.3% at rate 0.1
#       cross-entropy, bias 12: 70.9% at rate 0.1
#       squared error, bias 0: 72.5% at rate 3
#       squared error, bias 6: 68.6% at rate 3
#       squared error, bias 12: 9.9% at rate 3
#
#     Three values for a row where the model gives one:
#       ValueError: `y_true` must have shape (4, 1) for `y_pred` of shape (4, 1). Received: y_true
#         of shape (4, 3). Reshape one of them: broadcast, entries would be compared that do not
#         belong together.
