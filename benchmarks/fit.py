"""A whole training step as `fit` makes it: ours against Keras' optimizer and loss.

    python benchmarks/fit.py                          # TensorFlow; KERAS_BACKEND=jax or torch

Models: an MLP of 5.8 M weights, a small CNN, a transformer (d 256, 2 layers), a recommender with a
table of 500 K × 64; batches of 64. Adam and the cross-entropy of integer labels, from Keras or from
here. Where models are not compiled, also a step that computes the gradients and leaves the weights
alone: the rest is what an optimizer can save. On TensorFlow also with `jit_compile=True`, and the
time until the first step of a 12-layer transformer is done, which is mostly compilation.
"""

from __future__ import annotations

import time

import keras
import numpy as np
from harness import Table, arguments, header, row, write
from keras import layers

from keras_optim_losses import losses, optimizers

BACKEND = keras.backend.backend()
BATCH, STEPS = 64, 10


def mlp():
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(2048, "relu"),
            layers.Dense(2048, "relu"),
            layers.Dense(10),
        ]
    )


def cnn():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def transformer(depth: int = 2, width: int = 256, length: int = 16):
    inputs = keras.Input((length,), dtype="int32")
    x = layers.Embedding(1000, width)(inputs)
    for _ in range(depth):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(4, width // 4)(y, y)
        y = layers.Dense(4 * width, "gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(width)(y)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


def recommender():
    inputs = keras.Input((8,), dtype="int32")
    x = layers.Embedding(500_000, 64)(inputs)
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))


def data(model, samples: int):
    rng = np.random.default_rng(0)
    shape = (samples, *model.input_shape[1:])
    if model.inputs[0].dtype == "int32":
        x = rng.integers(0, 1000, shape)
    else:
        x = rng.normal(size=shape).astype("float32")
    return x, rng.integers(0, 10, samples).astype("int32")


class Gradients(keras.optimizers.SGD):
    """Has the gradients computed, and leaves the weights alone."""

    def apply(self, grads, trainable_variables=None):
        used = sum(keras.ops.reshape(gradient, (-1,))[0] for gradient in grads)
        self.iterations.assign_add(keras.ops.cast(0 * used, self.iterations.dtype) + 1)


def compiled(build, theirs: bool, jit_compile: bool, lazy: bool = False, update: bool = True):
    keras.utils.set_random_seed(0)
    model = build()
    if not update:
        optimizer, loss = Gradients(), keras.losses
    elif theirs:
        optimizer, loss = keras.optimizers.Adam(), keras.losses
    else:
        optimizer, loss = optimizers.Adam(lazy=lazy), losses
    loss = loss.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=jit_compile)
    return model


class Clock(keras.callbacks.Callback):
    """When each batch of a `fit` was done."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())


def measured(models: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each model, one figure a round, without the first steps of a `fit`."""
    clock = Clock()
    times = {name: [] for name in models}
    for _ in range(rounds + 1):
        for name, (model, x, y) in models.items():
            model.fit(x, y, batch_size=BATCH, shuffle=False, callbacks=[clock], verbose=0)
            times[name].append((clock.times[-1] - clock.times[1]) / (len(clock.times) - 2))
    return {name: each[1:] for name, each in times.items()}  # the first round compiles


def first_step(theirs: bool) -> float:
    model = compiled(lambda: transformer(depth=12), theirs, jit_compile=False)
    x, y = data(model, BATCH)
    start = time.perf_counter()
    model.train_on_batch(x, y)
    return time.perf_counter() - start


def main() -> None:
    given = arguments(__doc__).parse_args()
    about = header()
    tables = []
    builds = {"MLP": mlp, "CNN": cnn, "transformer": transformer, "recommender": recommender}
    if given.quick:
        builds = {"CNN": cnn}
    ways = {"tensorflow": (False, True), "jax": (True,), "torch": (False,)}[BACKEND]
    for jit_compile in ways:
        kind = "compiled" if jit_compile else "not compiled"
        tables.append(Table(f"a step of `fit`, model {kind}, batch of {BATCH}"))
        for name, build in builds.items():
            sparse = name == "recommender" and BACKEND == "tensorflow"
            for lazy in (False, True) if sparse else (False,):
                models = {
                    "ours": compiled(build, False, jit_compile, lazy),
                    "Keras": compiled(build, True, jit_compile),
                }
                if not jit_compile and name != "recommender":
                    models["gradients"] = compiled(build, True, jit_compile, update=False)
                models = {side: (m, *data(m, BATCH * STEPS)) for side, m in models.items()}
                times = measured(models, 2 if given.quick else 9)
                tables[-1].add(model=f"{name}{', lazy' if lazy else ''}", **row(times))
    if BACKEND == "tensorflow" and not given.quick:
        tables.append(Table("the first step of a 12-layer transformer"))
        first_step(True), first_step(False)  # what a process does once
        times = {"ours": [], "Keras": []}
        for _ in range(3):
            for name, each in times.items():
                each.append(first_step(name == "Keras"))
        tables[-1].add(**row(times, ours="Keras", peer="ours"))
    write(given.json, about, tables)


if __name__ == "__main__":
    main()
