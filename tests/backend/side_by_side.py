"""What is trained on many devices and on one, to be compared."""

import inspect
import itertools

import keras
import numpy as np

from keras_optim_losses import optimizers
from tests.models import labels_for, values
from tests.test_contract import LOSSES, OPTIMIZERS

SAMPLES = 39  # two full batches and one of seven, which is odd
BATCH = 16
EPOCHS = 2

AVERAGED = {"use_ema": True, "ema_momentum": 0.8}
LAZY = {"global_clipnorm": 0.05, "lazy": True, **AVERAGED}
ACCUMULATED = {
    "global_clipnorm": 0.05,
    "gradient_accumulation_steps": 2,
    "ema_overwrite_frequency": 2,
    **AVERAGED,
}
EXACT = {"clipnorm": 0.05, "weight_decay": 0.1, **AVERAGED}

# The losses take turns. Adam moves rows of a table that have no gradient, Adagrad lets them rest.
CASES = {
    f"{cls.__name__}-{name}": (cls, shared, loss)
    for (cls, name, shared), loss in zip(
        [
            *((cls, "lazy", LAZY) for cls in OPTIMIZERS),
            *((cls, "accumulated", ACCUMULATED) for cls in OPTIMIZERS),
            *((cls, "exact", EXACT) for cls in (optimizers.Adam, optimizers.Adagrad)),
        ],
        itertools.cycle(LOSSES),
    )
}


def data(samples):
    """Ids (samples, 3) and classes (samples,). The last two of 30 ids are never used."""
    ids = np.random.default_rng(0).integers(0, 28, (samples, 3))
    return ids, ids[:, 0] % 3


def compiled(case, samples=SAMPLES):
    """A model for a case, with the same weights each time; and the labels that its loss takes."""
    cls, shared, loss = CASES[case]
    # Where a gradient is near zero, rounding must not decide on the direction of a step.
    own = {"epsilon": 1e-3} if "epsilon" in inspect.signature(cls).parameters else {}
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(30, 4, name="table"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, activation="softmax", name="top"),
        ]
    )
    model.compile(cls(0.05, **own, **shared), loss())
    model.optimizer.build(model.trainable_variables)
    return model, labels_for(loss(), data(samples)[1])


def fit(model, x, y, batch_size=BATCH):
    """The loss of each epoch."""
    arguments = {"batch_size": batch_size, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    return np.array(model.fit(x, y, **arguments).history["loss"])


def by_fit(case):
    """Weights, optimizer state and reported losses, as float64."""
    model, y = compiled(case)
    history = fit(model, data(SAMPLES)[0], y)
    return [*values([*model.weights, *model.optimizer.variables]), history]


def assert_close(got, expected):
    """Equal but for the order in which the sums over a batch are added up, in each of six steps."""
    assert len(got) == len(expected)
    for one, other in zip(got, expected):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
