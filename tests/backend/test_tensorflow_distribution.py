"""Many devices train as one does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import losses
from tests.backend.replicas import mirrored
from tests.models import labels_for
from tests.test_contract import LOSSES

# Losses


@pytest.mark.parametrize(
    "loss",
    [*(cls() for cls in LOSSES), losses.SparseCategoricalCrossentropy(ignore_class=0)],
    ids=lambda loss: loss.name,
)
def test_replicas_with_unequal_parts_of_a_batch(loss):
    """Values add up to the loss of the batch, and each part has its gradient."""
    rng = np.random.default_rng(0)
    p = keras.ops.convert_to_numpy(keras.ops.softmax(rng.normal(size=(5, 3)).astype("float32")))
    y = labels_for(loss, np.array([0, 1, 2, 0, 1]))
    weights = np.array([1, 0, 2, 3, 0.5], "float32")
    kinds = [
        type(loss).from_config(loss.get_config() | {"reduction": reduction})
        for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "sum")
    ]

    def values_and_gradients(y, p, weights):
        results = []
        for kind in kinds:
            with tf.GradientTape() as tape:
                tape.watch(p)
                value = kind(y, p, weights)
            results.append((value, tape.gradient(value, p)))
        return results

    def part(of, context, x):
        first = context.replica_id_in_sync_group == 0
        return tf.constant(x[:of] if first else x[of:])

    @tf.function
    def on_replicas(*parts):
        return [mirrored().run(values_and_gradients, args=args) for args in parts]

    per_replica = mirrored().experimental_distribute_values_from_function
    parts = [
        [per_replica(lambda context, x=x, of=of: part(of, context, x)) for x in (y, p, weights)]
        for of in (3, 5)  # then the second part has two samples, or none
    ]
    expected = values_and_gradients(*map(tf.constant, (y, p, weights)))
    for results in on_replicas(*parts):
        for (value, gradient), (got, gradients) in zip(expected, results):
            # Half of it from each, and so the mean that `fit` reports, by samples, is right too.
            np.testing.assert_allclose(got.values, [value / 2] * 2, rtol=1e-6)
            np.testing.assert_allclose(
                tf.concat(gradients.values, 0), gradient, rtol=1e-6, atol=1e-9
            )
