"""One of several processes under MultiWorkerMirroredStrategy.

python -m tests.backend.tensorflow_worker ADDRESSES INDEX FILE
"""

import json
import os
import sys

import numpy as np
import tensorflow as tf

from tests.backend import side_by_side
from tests.models import values

CASES = [case for case in side_by_side.CASES if case.startswith("Adam-")]


def trained(case, strategy, index, count):
    """As `side_by_side.by_fit`, in a loop of its own on this process' share of each batch."""
    x, _ = side_by_side.data(side_by_side.SAMPLES)
    with strategy.scope():
        model, y = side_by_side.compiled(case)

    def on_replica(x, y):
        with tf.GradientTape() as tape:
            value = model.loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return value

    share = [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in (x, y)]

    @tf.function(input_signature=share, autograph=False)
    def step(*share):
        return strategy.reduce("SUM", strategy.run(on_replica, args=share), axis=None)

    history = []
    for _ in range(side_by_side.EPOCHS):
        total = 0
        for first in range(0, len(x), side_by_side.BATCH):
            batch = slice(first, first + side_by_side.BATCH)
            total += float(step(x[batch][index::count], y[batch][index::count])) * len(x[batch])
        history.append(total / len(x))
    with strategy.scope():
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return [*values([*model.weights, *model.optimizer.variables]), np.array(history)]


def fit(strategy):
    """What comes of `fit`."""
    x, _ = side_by_side.data(side_by_side.SAMPLES)
    with strategy.scope():
        model, y = side_by_side.compiled(CASES[0])
    try:
        model.fit(x, y, batch_size=side_by_side.BATCH, shuffle=False, verbose=0)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "works"


def main(addresses, index, file):
    task = {"type": "worker", "index": int(index)}
    addresses = addresses.split(",")
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    results = {case: trained(case, strategy, int(index), len(addresses)) for case in CASES}
    arrays = {f"{case}/{i}": v for case, found in results.items() for i, v in enumerate(found)}
    np.savez(file, **arrays)
    print("fit:", fit(strategy))


if __name__ == "__main__":
    main(*sys.argv[1:])
