"""Train Fashion-MNIST with an optimizer and a loss of this package, then save, reload and go on.

    python examples/fashion_mnist.py
    python examples/fashion_mnist.py --loss binary --optimizer rmsprop --model cnn

What the choice of a loss means for the labels, with ten units without an activation at the end:

- sparse_categorical: one class out of ten, labels are integers from 0 to 9.
- categorical: the same question and the same number, labels are one-hot rows.
- binary: ten questions an image, "is it a sneaker?", each answered by itself with yes or no. Labels
  are one-hot rows too, but nothing tells the model that exactly one answer is yes.
- mse: regression on the one-hot rows: the unit of the true class should say 1, the others 0.

The accuracy is the same for all four: how often the unit with the largest output is that of the
true class. The test images are looked at once, at the end; "validation" in the curves is the last
tenth of the training images.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import matplotlib
import numpy as np
from fashion_mnist_data import CLASSES, Data, DataError, load
from keras import ops

from keras_optim_losses import losses, optimizers

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import FigureBase


@dataclass(frozen=True)
class Task:
    """What a loss asks for."""

    loss: keras.losses.Loss
    one_hot: bool
    meaning: str
    # Turns outputs (n, 10) into what each unit says, from 0 to 1.
    belief: str


def tasks() -> dict[str, Task]:
    return {
        "sparse_categorical": Task(
            losses.SparseCategoricalCrossentropy(from_logits=True),
            False,
            "one class out of ten, integer labels",
            "softmax",
        ),
        "categorical": Task(
            losses.CategoricalCrossentropy(from_logits=True),
            True,
            "one class out of ten, one-hot labels",
            "softmax",
        ),
        "binary": Task(
            losses.BinaryCrossentropy(from_logits=True),
            True,
            "ten questions an image, each answered by yes or no",
            "sigmoid",
        ),
        "mse": Task(losses.MeanSquaredError(), True, "regression on one-hot rows", "linear"),
    }


# Where a whole run learns well; the classes' own defaults are those of Keras.
LEARNING_RATES = {"sgd": 0.1, "gradientdescent": 0.1, "momentum": 0.02, "adagrad": 0.02}


def number(
    kind: type, low: int, high: float = math.inf, why: str = ""
) -> Callable[[str], int | float]:
    """What reads a number from `low` up to, but without, `high` from the command line."""

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value < high:
            whole = ", and whole" if kind is int else ""
            below = f", and less than {high}" if high < math.inf else ""
            raise argparse.ArgumentTypeError(
                f"must be {low} or more{whole}{below}{why}, not {text}"
            )
        return value

    return read


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loss", choices=list(tasks()), default="sparse_categorical")
    parser.add_argument("--optimizer", metavar="NAME", default="Adam", help="in any case")
    parser.add_argument("--model", choices=["mlp", "cnn"], default="mlp")
    parser.add_argument("--epochs", type=number(int, 1), default=5)
    parser.add_argument("--batch-size", type=number(int, 1), default=64)
    parser.add_argument(
        "--learning-rate", type=number(float, 0), help="by default one that suits it"
    )
    parser.add_argument("--seed", type=number(int, 0, 2**32), default=0)
    parser.add_argument(
        "--limit",
        type=number(int, 10, why=", for a tenth validates"),
        metavar="N",
        help="train on N images only",
    )
    parser.add_argument("--quick", action="store_true", help="one epoch of 5,000 images")
    parser.add_argument("--data-dir", metavar="FOLDER", help="a folder with the four files")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("out"))
    return parser


def make_optimizer(name: str, learning_rate: float | None) -> keras.optimizers.Optimizer:
    optimizer = optimizers.get(name)
    if learning_rate is None:
        learning_rate = LEARNING_RATES.get(type(optimizer).__name__.lower())
    if learning_rate is not None:
        optimizer.learning_rate = learning_rate
    return optimizer


def make_model(kind: str) -> keras.Model:
    layers = keras.layers
    if kind == "mlp":
        hidden = [layers.Flatten(), layers.Dense(256, "relu"), layers.Dense(128, "relu")]
    else:
        hidden = [
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, "relu"),
        ]
    # No activation: the loss takes logits, which cannot round to 0 or 1 as probabilities can.
    return keras.Sequential(
        [keras.Input((28, 28)), layers.Rescaling(1 / 255), *hidden, layers.Dense(10)]
    )


def compile_model(model: keras.Model, task: Task, optimizer: keras.optimizers.Optimizer) -> None:
    kind = (
        keras.metrics.CategoricalAccuracy
        if task.one_hot
        else keras.metrics.SparseCategoricalAccuracy
    )
    metrics: list[keras.metrics.Metric] = [kind(name="accuracy")]
    if task.belief == "sigmoid":
        # Logits: "yes" is above 0, and not above 0.5. Always "no" is right nine times of ten.
        metrics.append(keras.metrics.BinaryAccuracy(threshold=0.0, name="answers_right"))
    model.compile(optimizer=optimizer, loss=task.loss, metrics=metrics)


def labels_for(task: Task, labels: np.ndarray) -> np.ndarray:
    return keras.utils.to_categorical(labels, 10) if task.one_hot else labels


def draw_curves(figure: FigureBase, history: dict[str, list[float]], title: str) -> None:
    """Loss and accuracy over epochs, of training and validation images."""
    axes = figure.subplots(2, 1, sharex=True)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for axis, name in zip(axes, ("loss", "accuracy")):
        axis.plot(epochs, history[name], "o-", color="tab:blue", label="training, during the epoch")
        axis.plot(
            epochs, history[f"val_{name}"], "s-", color="tab:orange", label="validation, after"
        )
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[0].set_title(title)
    axes[0].legend(frameon=False)
    axes[1].set_xlabel("epoch")
    axes[1].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))


def draw_predictions(
    figure: FigureBase, images: np.ndarray, labels: np.ndarray, outputs: np.ndarray, task: Task
) -> None:
    """A grid of test images with what the model says; what it gets wrong is red.

    Args:
        figure: where to draw.
        images: uint8 (n, 28, 28), of which the first 24 are drawn.
        labels: the true classes (n,).
        outputs: the model's outputs (n, 10).
        task: tells how outputs are read.
    """
    said = ops.convert_to_numpy(keras.activations.get(task.belief)(ops.convert_to_tensor(outputs)))
    axes = figure.subplots(4, 6)
    for axis, image, label, belief in zip(axes.flat, images, labels, said):
        axis.imshow(255 - image, cmap="gray", vmin=0, vmax=255)
        axis.set_axis_off()
        best = int(np.argmax(belief))
        right = best == label
        text = f"{CLASSES[best]} {belief[best]:.0%}"
        if not right:
            text += f"\nis: {CLASSES[label]}"
        axis.set_title(text, fontsize=8, color="black" if right else "tab:red", pad=3)
    figure.suptitle("Test images, and what the model says (red: wrong)", fontsize=12)


def write_pictures(
    out: Path,
    history: dict[str, list[float]],
    title: str,
    data: Data,
    outputs: np.ndarray,
    task: Task,
) -> list[Path]:
    """Write curves.png, predictions.png, and both side by side as overview.png."""
    test = (data.test_images[:24], data.test_labels[:24], outputs[:24], task)
    curves = pyplot.figure(figsize=(5.5, 6), layout="constrained")
    draw_curves(curves, history, title)
    predictions = pyplot.figure(figsize=(8, 6), layout="constrained")
    draw_predictions(predictions, *test)
    overview = pyplot.figure(figsize=(13.5, 6), layout="constrained")
    left, right = overview.subfigures(1, 2, width_ratios=[5.5, 8])
    draw_curves(left, history, title)
    draw_predictions(right, *test)
    paths = []
    for figure, name in ((curves, "curves"), (predictions, "predictions"), (overview, "overview")):
        paths.append(out / f"{name}.png")
        figure.savefig(paths[-1], dpi=80)
        pyplot.close(figure)
    return paths


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights()))


def save_and_go_on(model: keras.Model, path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Save, load, and show that nothing is lost: predictions, and how training goes on.

    Raises:
        RuntimeError: the loaded model is not the saved one.
    """
    model.save(path)
    # `import keras_optim_losses` comes before this: it makes the classes known to Keras.
    loaded = keras.models.load_model(path)
    before, after = (m.predict(images, verbose=0) for m in (model, loaded))
    if not np.array_equal(before, after):
        raise RuntimeError(f"{path} does not predict what the saved model does")
    print(f"Loaded {path}: the {len(images)} predictions are the same, bit for bit.")
    for m in (model, loaded):
        m.fit(images, labels, batch_size=64, shuffle=False, verbose=0)
    if not same_weights(model, loaded):
        raise RuntimeError(f"training does not go on from {path} as from the saved model")
    updates = int(np.asarray(loaded.optimizer.iterations))
    print(f"Trained both on, up to update {updates}: their weights are the same, bit for bit.")


def main(arguments: list[str] | None = None) -> int:
    options = parser()
    given = options.parse_args(arguments)
    if given.quick:
        given.epochs, given.limit = 1, 5000
    try:
        optimizer = make_optimizer(given.optimizer, given.learning_rate)
        data = load(given.data_dir)
    except (ValueError, DataError) as error:
        options.error(str(error))
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        options.error(f"--out {given.out} cannot be a folder: {error.strerror}. Name another.")
    task = tasks()[given.loss]
    keras.utils.set_random_seed(given.seed)

    images = data.train_images[: given.limit]
    labels = data.train_labels[: given.limit]
    print(
        f"Data: {data.source}, {len(images):,} images to train, {len(data.test_images):,} to test."
    )
    complete = data.complete and len(images) == len(data.train_images)
    if not complete:
        print("This is a part of the data: its accuracy is not that of Fashion-MNIST.")
    model = make_model(given.model)
    device = model.weights[0].value.device
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, device {device}.")
    print(f"Loss: {given.loss}, {task.meaning}. Optimizer: {type(optimizer).__name__}.")

    compile_model(model, task, optimizer)
    start = time.perf_counter()
    history = model.fit(
        images,
        labels_for(task, labels),
        batch_size=given.batch_size,
        epochs=given.epochs,
        validation_split=0.1,
    ).history
    seconds = time.perf_counter() - start
    results = model.evaluate(
        data.test_images, labels_for(task, data.test_labels), verbose=0, return_dict=True
    )
    outputs = model.predict(data.test_images, verbose=0)

    name = type(optimizer).__name__
    title = f"{name}, {given.loss}, {given.model}: test accuracy {results['accuracy']:.1%}"
    paths = write_pictures(given.out, history, title, data, outputs, task)
    saved = given.out / "model.keras"
    save_and_go_on(model, saved, images[:2000], labels_for(task, labels[:2000]))

    kind = "Test" if complete else "Test (trained or tested on a part of the data)"
    print(f"\n{kind}: " + ", ".join(f"{key} {value:.4f}" for key, value in results.items()))
    print(f"Trained {given.epochs} epochs in {seconds:.0f} s. Wrote:")
    for path in [*paths, saved]:
        print(f"  {path} ({path.stat().st_size / 1000:,.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
