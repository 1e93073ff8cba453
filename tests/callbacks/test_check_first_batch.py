"""CheckFirstBatch: it sees the batch that is trained on, and changes nothing about the training."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_optim_losses import callbacks, losses
from tests.losses.advice.right import classes, compiled, dense, vectors
from tests.losses.advice.test_check import EAGER, Batches, data, network, state

SCCE = losses.SparseCategoricalCrossentropy
torch = keras.backend.backend() == "torch"


class Seen(callbacks.CheckFirstBatch):
    """Counts what it is shown."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def _check(self, batch, state):
        self.batches.append(batch)
        super()._check(batch, state)


@pytest.mark.parametrize(
    "arguments, steps, run_eagerly",
    [
        (lambda: (*data(),), 1, False),
        pytest.param(
            lambda: (*data(), 12),
            2,
            EAGER,
            marks=pytest.mark.skipif(torch, reason="Keras has no steps_per_execution there"),
        ),
        (lambda: (Batches(),), 1, EAGER),
    ],
    ids=["compiled", "two steps at once", "a PyDataset"],
)
def test_training_is_the_same(arguments, steps, run_eagerly):
    results = []
    for callback in (None, Seen()):
        model = network(run_eagerly=run_eagerly)
        model.steps_per_execution = steps
        model.fit(*arguments(), shuffle=False, verbose=0, callbacks=[callback] if callback else [])
        results.append(state(model))
        if callback:
            assert callback.findings == [] and len(callback.batches) == 1
    assert results[0] == results[1]


def test_an_error_stops_before_anything_is_learned():
    model, (x, y) = network(), data()
    model.fit(x, y, verbose=0)
    before, step = state(model), model.train_function
    callback = callbacks.CheckFirstBatch()
    with pytest.raises(ValueError, match="(?s)ERROR label-out-of-range.*from 1 to 3"):
        model.fit(x, y + 1, verbose=0, callbacks=[callback])
    assert [finding.rule for finding in callback.findings] == ["label-out-of-range"]
    assert model.train_function is step
    # The metrics had been reset when the epoch began.
    count = len(model.variables) + len(model.optimizer.variables)
    assert state(model)[:count] == before[:count]
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert callback.findings == [] and state(model)[:count] != before[:count]


def test_warnings_are_warned_of_and_training_goes_on():
    model = compiled(dense(3, activation="sigmoid"), SCCE(), run_eagerly=EAGER)
    callback = callbacks.CheckFirstBatch()
    with pytest.warns(UserWarning, match="WARNING sigmoid-with-categorical"):
        model.fit(vectors(), classes(3, 64), verbose=0, callbacks=[callback])
    assert [finding.severity for finding in callback.findings] == ["warning"]


def test_each_fit_is_checked_anew():
    model, callback = compiled(dense(3), SCCE(from_logits=True), run_eagerly=EAGER), Seen()
    for _ in range(2):
        model.fit(vectors(), classes(3, 64), epochs=2, verbose=0, callbacks=[callback])
    assert len(callback.batches) == 2
    with pytest.raises(ValueError, match="label-out-of-range"):
        model.fit(vectors(), classes(3, 64) + 1, verbose=0, callbacks=[callback])


def test_several_outputs_masks_and_weights():
    inputs = keras.Input((6, 2))
    steps = layers.Dense(3, name="steps")(layers.Masking()(inputs))
    whole = layers.Dense(1, name="whole")(layers.Flatten()(inputs))
    model = keras.Model(inputs, {"steps": steps, "whole": whole})
    compiled(model, {"steps": SCCE(from_logits=True), "whole": "mse"}, run_eagerly=EAGER)
    x, y = np.ones((16, 6, 2)), classes(3, 16, 6)
    x[:, 3:], y[:, 3:] = 0, -1
    y = {"steps": y, "whole": vectors(16, 1)}
    callback = Seen()
    model.fit(x, y, sample_weight=np.ones(16), verbose=0, callbacks=[callback])
    assert callback.findings == [] and len(callback.batches[0]) == 3
    with pytest.raises(ValueError, match=r"label-out-of-range \(output 'steps'\)"):
        model.fit(np.ones_like(x), y, verbose=0, callbacks=[callback])


@pytest.mark.parametrize("loss", [None, "mse"])
def test_a_model_with_a_loss_of_its_own_is_let_pass(loss):
    class Generator(keras.Model):
        def __init__(self):
            super().__init__()
            self.end = layers.Dense(2)

        def call(self, x):
            return self.end(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(y_pred**2)

    model, callback = Generator(), Seen()
    model.compile("sgd", loss, run_eagerly=EAGER)
    model.fit(vectors(), verbose=0, callbacks=[callback])
    assert callback.findings == [] and len(callback.batches) == 1
