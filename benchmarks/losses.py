"""A loss and its gradient: ours against Keras' own.

    python benchmarks/losses.py                       # TensorFlow; KERAS_BACKEND=jax or torch

Predictions of 256 × 10, 2,048 × 1,000 and 1,024 × 32,000, in float32. On TensorFlow and JAX the
value and the gradient are one compiled call, on TensorFlow without XLA, as in a model that is not
compiled; small ones are repeated in a call, each on the gradient of the one before, so that
Python's part of the call is not counted. Where there is no repetition, the predictions are also
negated: as a gradient does, this reads them and writes as many numbers, and no loss can take less.
And their exponentials are written, as the gradient of a cross-entropy from logits has to.
"""

from __future__ import annotations

import keras
import numpy as np
from harness import Table, arguments, header, measure, row, write

from keras_optim_losses import losses

BACKEND = keras.backend.backend()

CASES = [
    ("BinaryCrossentropy", True),
    ("BinaryCrossentropy", False),
    ("CategoricalCrossentropy", True),
    ("CategoricalCrossentropy", False),
    ("SparseCategoricalCrossentropy", True),
    ("SparseCategoricalCrossentropy", False),
    ("MeanSquaredError", None),
]


def inputs(name: str, from_logits: bool | None, batch: int, classes: int):
    rng = np.random.default_rng(0)
    p = rng.normal(size=(batch, classes)).astype("float32")
    if from_logits is False:
        p = np.exp(p) / np.exp(p).sum(-1, keepdims=True)
    labels = rng.integers(0, classes, batch).astype("int32")
    if name == "CategoricalCrossentropy":
        labels = np.eye(classes, dtype="float32")[labels]
    elif name != "SparseCategoricalCrossentropy":
        labels = rng.integers(0, 2, (batch, classes)).astype("float32")
    return labels, p


def differentiated(loss, y, p, repeats: int):
    if BACKEND == "torch":
        y, p = keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(p).requires_grad_()

        def side():
            for _ in range(repeats):
                p.grad = None
                loss(y, p).backward()

        return side
    if BACKEND == "jax":
        import jax

        y, p = jax.numpy.asarray(y), jax.numpy.asarray(p)
        gradient = jax.value_and_grad(lambda p, y: loss(y, p))

        def one(_, carried):
            value, slope = gradient(carried[0], y)
            return slope + p, value

        run = jax.jit(lambda p, y: jax.lax.fori_loop(0, repeats, one, (p, jax.numpy.zeros(()))))
        if repeats == 1:
            run = jax.jit(gradient)
        return lambda: jax.block_until_ready(run(p, y))
    import tensorflow as tf

    @tf.function(autograph=False)
    def run(y, p):
        for _ in range(repeats):
            with tf.GradientTape() as tape:
                tape.watch(p)
                value = loss(y, p)
            p = tape.gradient(value, p)
        return value, p

    y, p = tf.constant(y), tf.constant(p)
    return lambda: run(y, p)


def one_pass(function, p):
    """Read the predictions and write as many numbers."""
    p = keras.ops.convert_to_tensor(p)
    if BACKEND == "torch":
        return lambda: function(p)
    if BACKEND == "jax":
        import jax

        run = jax.jit(function)
        return lambda: jax.block_until_ready(run(p))
    import tensorflow as tf

    run = tf.function(function, jit_compile=True, autograph=False)
    return lambda: run(p)


def main() -> None:
    given = arguments(__doc__).parse_args()
    about = header()
    tables = []
    sizes = [(256, 10), (64, 1000)] if given.quick else [(256, 10), (2048, 1000), (1024, 32_000)]
    for batch, classes in sizes:
        tables.append(Table(f"{batch} × {classes}"))
        repeats = 20 if batch * classes < 2**14 else 1
        for name, from_logits in CASES:
            arguments_ = {} if from_logits is None else {"from_logits": from_logits}
            y, p = inputs(name, from_logits, batch, classes)
            found = {
                side: differentiated(getattr(module, name)(**arguments_), y, p, repeats)
                for side, module in (("ours", losses), ("Keras", keras.losses))
            }
            if repeats == 1:
                found["negation"] = one_pass(keras.ops.negative, p)
                found["exponential"] = one_pass(keras.ops.exp, p)
            times = measure(found, *((2, 1) if given.quick else (15, 20 if repeats > 1 else 2)))
            each = {side: [t / repeats for t in values] for side, values in times.items()}
            of = {None: "values", True: "logits", False: "probabilities"}[from_logits]
            tables[-1].add(loss=name, of=of, **row(each))
    write(given.json, about, tables)


if __name__ == "__main__":
    main()
