"""Loss and gradient against the logit: what a loss says, and how hard it pushes.

    python examples/loss_and_gradient.py

What you will see: the four losses for one unit that should say yes, as functions of its logit z,
the output without an activation. To the left the model is wrong and sure of it, to the right it is
right and sure of it. A loss teaches by its gradient alone, so the second panel is the one that
counts, and the third shows it on a logarithmic scale:

- Cross-entropy pushes the harder the more wrong the model is, up to a slope of −1, and lets go
  where it is right.
- The squared error behind a sigmoid lets go on both sides. Where the model is wrong and sure of it,
  the gradient is as small as where it is right: it does not learn from its worst mistakes.
- The squared error of a linear output pushes in proportion to the error. It pushes back, too, where
  z says more than 1: for a class that is nonsense, for a real value it is the point.

Here is also how to get a gradient on every backend: what `SGD(learning_rate=1)` takes off a weight.
"""

from __future__ import annotations

import sys

import keras
import lesson
import numpy as np
import style
from matplotlib import pyplot

from keras_optim_losses import losses, optimizers

CLASSES = 10


def loss_and_gradient(
    loss: keras.losses.Loss, y: np.ndarray, z: np.ndarray, activation: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each row and its gradient by the logits, through the activation.

    Args:
        loss: with `reduction="sum"`, so that no gradient is divided by the number of rows.
        y: labels (n, …), as the loss takes them.
        z: logits (n, units).
        activation: of the last layer, between the logits and the loss.

    Returns:
        Losses (n,) and gradients (n, units).
    """
    # A weight for each logit, which adds nothing as long as it is zero.
    layers = keras.layers
    row = keras.Input((), dtype="int32")
    logits = keras.Input(z.shape[1:])
    weights = layers.Embedding(len(z), z.shape[1], embeddings_initializer="zeros")
    output = layers.Activation(activation)(layers.Add()([logits, weights(row)]))
    model = keras.Model([row, logits], output)
    # For a single step, compiling would take longer than computing.
    model.compile(optimizers.SGD(learning_rate=1.0), loss, run_eagerly=True)
    inputs = [np.arange(len(z), dtype="int32"), z.astype("float32")]
    values = loss.values(y, model.predict(inputs, batch_size=len(z), verbose=0))
    model.train_on_batch(inputs, y)
    return keras.ops.convert_to_numpy(values), -weights.get_weights()[0]


def curves(z: np.ndarray) -> dict[str, tuple[style.Look, np.ndarray, np.ndarray]]:
    """Loss and gradient of each loss for a unit that should say yes, by its logit.

    Args:
        z: logits (n,). For the categorical losses it is the one of the true class of ten, and the
            logits of the other nine are 0.
    """
    one = z[:, None]
    yes = np.ones_like(one)
    ten = np.pad(one, ((0, 0), (0, CLASSES - 1)))
    first = np.zeros(len(z), "int32")
    one_hot = keras.utils.to_categorical(first, CLASSES)
    shared = {"from_logits": True, "reduction": "sum"}
    square = losses.MeanSquaredError(reduction="sum")
    colour = style.LOSSES["MeanSquaredError"].colour
    rows = {
        "BinaryCrossentropy": (losses.BinaryCrossentropy(**shared), yes, one, None),
        "CategoricalCrossentropy": (losses.CategoricalCrossentropy(**shared), one_hot, ten, None),
        "SparseCategoricalCrossentropy": (
            losses.SparseCategoricalCrossentropy(**shared),
            first,
            ten,
            None,
        ),
        "MeanSquaredError, linear output": (square, yes, one, None),
        "MeanSquaredError behind a sigmoid": (square, yes, one, "sigmoid"),
    }
    looks = {
        **style.LOSSES,
        "MeanSquaredError, linear output": style.Look(colour),
        "MeanSquaredError behind a sigmoid": style.Look(colour, (0, (5, 2))),
    }
    found = {}
    for name, arguments in rows.items():
        values, gradients = loss_and_gradient(*arguments)
        found[name] = (looks[name], values, gradients[:, 0])
    return found


def draw(z: np.ndarray, found: dict[str, tuple[style.Look, np.ndarray, np.ndarray]]):
    figure, axes = pyplot.subplots(1, 3, figsize=(style.WIDTH, 4.2))
    for name, (look, values, gradients) in found.items():
        axes[0].plot(z, values, label=name, **look.line)
        axes[1].plot(z, gradients, **look.line)
        axes[2].semilogy(z, np.abs(gradients), **look.line)
    axes[0].set(title="loss", ylim=(-0.3, 10), ylabel="loss of the sample")
    axes[1].set(title="gradient", ylim=(-2.2, 1.2), ylabel="∂loss/∂z")
    axes[2].set(title="size of the gradient", ylim=(1e-5, 40), ylabel="|∂loss/∂z|")
    for axis in axes:
        axis.set(xlabel="logit z", xlim=(z[0], z[-1]), xticks=(-8, -4, 0, 4, 8))
        axis.axvspan(z[0], 0, color="#F4F4F4", zorder=0)
    figure.suptitle("A unit that should say yes, from wrong and sure (grey) to right and sure")
    handles, _ = axes[0].get_legend_handles_labels()
    style.legend_below(figure, handles, columns=3)
    return figure


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments, images=False)
    z = np.linspace(-10, 10, 41 if this.quick else 401)
    found = curves(z)

    print("\nLoss and gradient at the logit z =  ", "".join(f"{at:>20}" for at in (-10, 0, 10)))
    for name, (_, values, gradients) in found.items():
        cells = [f"{values[i]:>10.2g}{gradients[i]:>+10.2g}" for i in (0, len(z) // 2, len(z) - 1)]
        print(f"{name:36}", "".join(cells))

    this.save(draw(z, found), "loss_and_gradient")
    return this.end()


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#
#     Loss and gradient at the logit z =                    -10                   0
#       10
#     BinaryCrossentropy                           10        -1      0.69      -0.5   4.5e-05
#       -4.5e-05
#     CategoricalCrossentropy                      12        -1       2.3      -0.9   0.00041
#       -0.00041
#     SparseCategoricalCrossentropy                12        -1       2.3      -0.9   0.00041
#       -0.00041
#     MeanSquaredError, linear output         1.2e+02       -22         1        -2        81
#       +18
#     MeanSquaredError behind a sigmoid             1  -9.1e-05      0.25     -0.25   2.1e-09
#       -4.1e-09
