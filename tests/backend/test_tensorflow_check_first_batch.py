"""CheckFirstBatch puts the batch that it took before the training function again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import callbacks, losses
from tests.backend.replicas import mirrored
from tests.models import data, network


class Traced(keras.layers.Layer):
    """Counts how often it is traced."""

    traces = 0

    def call(self, x):
        type(self).traces += 1
        return x


@pytest.mark.parametrize("steps", [1, 2])
def test_the_training_function_is_not_traced_anew(steps):
    x, y = data()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    counts, weights = [], []
    for given in ([], [callbacks.CheckFirstBatch()]):
        model = keras.Sequential([keras.Input((6,)), Traced(), network()])
        model.compile("sgd", losses.SparseCategoricalCrossentropy(), steps_per_execution=steps)
        Traced.traces = 0
        model.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=given)
        counts.append(Traced.traces)
        weights.append(model.get_weights())
    assert counts[1] == counts[0] + 1  # for the check itself
    for one, other in zip(*weights):
        np.testing.assert_array_equal(one, other)


def test_a_strategy_is_told_to_check_before():
    with mirrored().scope():
        model = network()
        model.compile("sgd", losses.SparseCategoricalCrossentropy())
    with pytest.raises(ValueError, match=r"several devices.*`losses.check\(model, x, y\)`"):
        model.fit(*data(), verbose=0, callbacks=[callbacks.CheckFirstBatch()])
    assert losses.check(model, *data()) == []
