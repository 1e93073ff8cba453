"""A training step of an embedding table, forward, backward and update, on TensorFlow.

    python benchmarks/embeddings.py

The table is rows × 64, a batch has 1,024 ids. Ours: Adam with `lazy=True` and without (the exact
dense result), Adagrad and SGD, whose rows rest without a gradient anyway; each against Keras' own
of that name. For 500 K rows also compiled by XLA as a whole, as with `jit_compile=True`. The last
table holds steps at 20 K and at 10 M rows against each other.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import gc

import keras
import numpy as np
import tensorflow as tf
from harness import Table, arguments, header, measure, row, write

from keras_optim_losses import optimizers

WIDTH, BATCH = 64, 1024

PAIRS = {
    "Adam, lazy": (lambda: optimizers.Adam(lazy=True), keras.optimizers.Adam),
    "Adam, exact": (optimizers.Adam, keras.optimizers.Adam),
    "Adagrad": (optimizers.Adagrad, keras.optimizers.Adagrad),
    "SGD": (optimizers.SGD, keras.optimizers.SGD),
}


def ids(rows: int, skewed: bool) -> list[tf.Tensor]:
    """Batches of ids, all alike or such that a few ids make up most of a batch."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(8):
        drawn = rng.zipf(1.2, BATCH) - 1 if skewed else rng.integers(0, rows, BATCH)
        batches.append(tf.constant(drawn % rows, tf.int32))
    return batches


def training(make, rows: int, skewed: bool, compiled: bool = False):
    table = keras.layers.Embedding(rows, WIDTH, embeddings_initializer="zeros")
    table.build()
    weights = table.trainable_variables
    optimizer = make()
    optimizer.build(weights)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int32)], jit_compile=compiled, autograph=False
    )
    def step(batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(table(batch) - 1.0))
        optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)

    batches = ids(rows, skewed)
    turn = 0

    def side():
        nonlocal turn
        turn += 1
        step(batches[turn % len(batches)])

    return side


def against_keras(quick: bool, rows: int, skewed: bool = False, compiled: bool = False) -> Table:
    kind = ("skewed" if skewed else "uniform") + (", compiled" if compiled else "")
    table = Table(f"{rows / 1000:g} K × {WIDTH}, batch of {BATCH} ids, {kind}")
    for name, (own, theirs) in PAIRS.items():
        found = {
            "ours": training(own, rows, skewed, compiled),
            "Keras": training(theirs, rows, skewed, compiled),
        }
        times = measure(found, *((2, 1) if quick else (9, 3)))
        table.add(optimizer=name, **row(times))
        del found
        gc.collect()
    return table


def main() -> None:
    given = arguments(__doc__).parse_args()
    about = header()
    sizes = [2_000, 20_000] if given.quick else [20_000, 500_000, 2_000_000]
    tables = []
    for rows in sizes:
        for skewed in (False, True):
            tables.append(against_keras(given.quick, rows, skewed))
    tables.append(against_keras(given.quick, sizes[1], compiled=True))
    few, many = sizes[0], 20_000 if given.quick else 10_000_000
    tables.append(Table(f"a step at {many:,} rows against one at {few:,}, uniform"))
    for name in ("Adam, lazy", "Adagrad", "SGD"):
        make = PAIRS[name][0]
        found = {"few": training(make, few, False), "many": training(make, many, False)}
        times = measure(found, *((2, 1) if given.quick else (15, 10)))
        tables[-1].add(optimizer=name, **row(times, ours="few", peer="many"))
        del found
        gc.collect()
    write(given.json, about, tables)


if __name__ == "__main__":
    main()
