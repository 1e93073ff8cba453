"""Many devices train as one does: replicas in a process, and in two processes."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import losses
from tests.backend import cluster, side_by_side, tensorflow_worker
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


# Two devices


@functools.cache
def on_one_device(case):
    return side_by_side.by_fit(case)


@pytest.mark.parametrize("case", side_by_side.CASES)
def test_fit_on_two_replicas(case):
    with mirrored().scope():
        got = side_by_side.by_fit(case)
    side_by_side.assert_close(got, on_one_device(case))


# Two processes


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """What each process has found, and what it has printed."""
    folder = tmp_path_factory.mktemp("workers")
    addresses = cluster.free_addresses(2)
    files = [folder / f"{i}.npz" for i in range(2)]
    printed = cluster.run(
        *(
            ("-m", "tests.backend.tensorflow_worker", ",".join(addresses), i, file)
            for i, file in enumerate(files)
        )
    )
    return [dict(np.load(file)) for file in files], printed


@pytest.mark.parametrize("case", tensorflow_worker.CASES)
def test_a_loop_in_two_processes(case, workers):
    for arrays in workers[0]:
        got = [arrays[f"{case}/{i}"] for i in range(sum(k.startswith(case) for k in arrays))]
        side_by_side.assert_close(got, on_one_device(case))


def test_fit_in_two_processes_fails_in_keras_itself(workers):
    """When it works, say so in the README, in the example and in `Optimizer`."""
    for printed in workers[1]:
        assert re.search(r"fit: ValueError: Attempt to convert a value \(PerReplica", printed)
