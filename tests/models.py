"""A small model, its data, and ways to look at its state: what tests of training share."""

import keras
import numpy as np
from keras import ops

from keras_optim_losses import losses


def data(samples=32):
    """Inputs (samples, 6) and classes (samples,) out of 3, which the inputs tell."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(samples, 6)).astype("float32")
    return x, np.argmax(x[:, :3], axis=1)


def labels_for(loss, classes):
    """Integers for a loss that takes them, else one-hot rows, which all others accept."""
    if loss.label_shape((None, 3)) == (None,):
        return classes
    return np.eye(3, dtype="float32")[classes]


def network():
    """The same weights each time. Names are fixed, for a rebuilt model must not differ by them."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh", name="hidden"),
            keras.layers.Dense(3, activation="softmax", name="output"),
        ]
    )


def compiled(optimizer, loss=None, **arguments):
    model = network()
    loss = losses.SparseCategoricalCrossentropy() if loss is None else loss
    model.compile(optimizer=optimizer, loss=loss, **arguments)
    return model


def train(model, epochs=1):
    """Four batches an epoch, always the same; the loss of each epoch."""
    x, classes = data()
    y = labels_for(losses.get(model.loss), classes)
    return model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0).history["loss"]


def values(variables):
    """Values as float64: a comparison must not round."""
    return [ops.convert_to_numpy(ops.cast(v, "float32")).astype("float64") for v in variables]


def state(model):
    """All weights and all optimizer state."""
    return values([*model.variables, *model.optimizer.variables])


def assert_same(one, other):
    """Bit for bit."""
    assert len(one) == len(other)
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a, b)
