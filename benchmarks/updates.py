"""One update of many weights, the update alone: ours against Keras' and the backend's own.

    python benchmarks/updates.py                      # TensorFlow; KERAS_BACKEND=jax or torch

Sets of weights: one of 16 M entries; 200 of 10 K; those of a 12-layer transformer (d 256); those of
an MLP. Peers: Keras' optimizer of the same name; TensorFlow's fused kernels, one for a weight;
optax; torch.optim (foreach and fused); and, as the limit, reading and writing the same bytes.
On TensorFlow and JAX three updates are made in one compiled call, as a training step is, so that
Python's part of the call weighs less: `fit.py` counts it.
"""

from __future__ import annotations

import keras
import numpy as np
from harness import Table, arguments, header, measure, on_gpu, row, write

from keras_optim_losses import optimizers

BACKEND = keras.backend.backend()
UPDATES = 1 if BACKEND == "torch" else 3


def weight_sets(quick: bool) -> dict[str, list[tuple[int, ...]]]:
    width, layers = (32, 2) if quick else (256, 12)
    block = [(width, 4, width // 4), (4, width // 4)] * 3 + [(4, width // 4, width), (width,)]
    block += [(width,)] * 4 + [(width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return {
        "16 M": [(10_000,)] if quick else [(4000, 4000)],
        "200 × 10 K": [(100,)] * 20 if quick else [(10_000,)] * 200,
        "transformer": block * layers,
        "MLP": [(784, 64), (64,), (64, 10), (10,)] if quick else MLP,
    }


MLP = [(784, 2048), (2048,), (2048, 2048), (2048,), (2048, 10), (10,)]

#: Ours, Keras' counterpart, and how much of memory an update reads and writes, in weights.
PAIRS = {
    "Adam": (optimizers.Adam, keras.optimizers.Adam, 7),
    "RMSprop": (optimizers.RMSprop, keras.optimizers.RMSprop, 5),
    "Adagrad": (optimizers.Adagrad, keras.optimizers.Adagrad, 5),
    "Momentum": (optimizers.Momentum, lambda: keras.optimizers.SGD(momentum=0.9), 5),
    "SGD": (optimizers.SGD, keras.optimizers.SGD, 3),
}


def arrays(shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def of_keras(make, shapes):
    """A side that makes the updates through `apply`, as a training step does."""
    weights = [keras.Variable(a) for a in arrays(shapes)]
    gradients = [keras.ops.convert_to_tensor(a) for a in arrays(shapes)]
    optimizer = make()
    optimizer.build(weights)
    if BACKEND == "torch":
        import torch

        def side():
            with torch.no_grad():
                optimizer.apply(gradients, weights)

        return side
    if BACKEND == "tensorflow":
        return in_one_call(lambda: optimizer.apply(gradients, weights))
    state = [[w.value for w in weights], [v.value for v in optimizer.variables]]
    state = [[x.copy() for x in part] for part in state]
    return jitted(lambda g, w, s: optimizer.stateless_apply(s, g, w), gradients, state)


def jitted(update, gradients, carried):
    """A side of so many updates: a function of gradients, weights and state."""
    import jax

    # Each has gradients of its own: of the same, XLA would compute g² once for all.
    many = [jax.numpy.stack([g * (i + 1) for i in range(UPDATES)]) for g in gradients]
    updates = jax.jit(
        lambda many, *c: jax.lax.scan(lambda c, g: (update(g, *c), None), c, many)[0],
        donate_argnums=(1, 2),
    )

    def side():
        carried[:] = updates(many, *carried)
        jax.block_until_ready(carried)

    return side


def in_one_call(update):
    import tensorflow as tf

    # Not a `tf.while_loop`, in which no training step makes its updates.
    return tf.function(lambda: [update() for _ in range(UPDATES)] and None, autograph=False)


def of_kernels(name, shapes):
    """TensorFlow's fused kernels, one call a weight."""
    import tensorflow as tf

    weights = [tf.Variable(a) for a in arrays(shapes)]
    slots = [[tf.Variable(np.ones_like(a)) for a in arrays(shapes)] for _ in range(2)]
    gradients = [tf.constant(a) for a in arrays(shapes)]
    raw = tf.raw_ops
    rate = tf.constant(1e-3)

    def update():
        for w, m, v, g in zip(weights, *slots, gradients):
            w, m, v = w.handle, m.handle, v.handle
            if name == "Adam":
                powers = {"beta1_power": 0.5, "beta2_power": 0.5}
                betas = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}
                raw.ResourceApplyAdam(var=w, m=m, v=v, lr=rate, grad=g, **powers, **betas)
            elif name == "RMSprop":
                given = {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}
                raw.ResourceApplyRMSProp(var=w, ms=m, mom=v, lr=rate, grad=g, **given)
            elif name == "Adagrad":
                raw.ResourceApplyAdagradV2(var=w, accum=m, lr=rate, epsilon=1e-7, grad=g)
            elif name == "Momentum":
                raw.ResourceApplyKerasMomentum(var=w, accum=m, lr=rate, grad=g, momentum=0.9)
            else:
                raw.ResourceApplyGradientDescent(var=w, alpha=rate, delta=g)

    return in_one_call(update)


def of_optax(name, shapes):
    import jax
    import optax

    make = {
        "Adam": lambda: optax.adam(1e-3),
        "RMSprop": lambda: optax.rmsprop(1e-3),
        "Adagrad": lambda: optax.adagrad(1e-3),
        "Momentum": lambda: optax.sgd(1e-2, momentum=0.9),
        "SGD": lambda: optax.sgd(1e-2),
    }[name]
    optimizer = make()
    gradients = [jax.numpy.asarray(a) for a in arrays(shapes)]

    def update(gradients, weights, state):
        changes, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, changes), state

    weights = [jax.numpy.asarray(a) for a in arrays(shapes)]
    return jitted(update, gradients, [weights, optimizer.init(weights)])


def of_torch(name, shapes, **how):
    import torch

    weights, gradients = (
        [keras.ops.convert_to_tensor(a) for a in arrays(shapes)] for _ in range(2)
    )
    for weight, gradient in zip(weights, gradients):
        weight.requires_grad_().grad = gradient
    optim = torch.optim
    make = {
        "Adam": optim.Adam,
        "RMSprop": optim.RMSprop,
        "Adagrad": optim.Adagrad,
        "Momentum": lambda *a, **k: optim.SGD(*a, momentum=0.9, **k),
        "SGD": optim.SGD,
    }[name]
    return make(weights, lr=1e-3, **how).step


def of_copies(streams, shapes):
    """Half as many copies as an update has streams, on all cores: the same bytes."""
    import concurrent.futures
    import os

    entries = sum(int(np.prod(shape)) for shape in shapes)
    if on_gpu():
        return of_copies_on_gpu(streams, entries)
    workers = len(os.sched_getaffinity(0))
    source, target = np.ones(entries, "float32"), np.ones(entries, "float32")
    parts = [slice(i * entries // workers, (i + 1) * entries // workers) for i in range(workers)]
    pool = concurrent.futures.ThreadPoolExecutor(workers)

    def copy(part):
        for _ in range(UPDATES * streams // 2):
            np.copyto(target[part], source[part])
        if UPDATES * streams % 2:  # half a copy
            half = slice(part.start, (part.start + part.stop) // 2)
            np.copyto(target[half], source[half])

    return lambda: list(pool.map(copy, parts))


def of_copies_on_gpu(streams, entries):
    source = keras.ops.ones(entries)
    if BACKEND == "torch":
        target = keras.ops.zeros(entries)

        def side():
            for _ in range(streams // 2):
                target.copy_(source)
            if streams % 2:
                target[: entries // 2].copy_(source[: entries // 2])

        return side
    import jax

    copies = jax.jit(
        lambda x: jax.lax.fori_loop(0, UPDATES * streams // 2, lambda _, x: x + 1, x),
        donate_argnums=0,
    )
    carried = [source]

    def side():
        carried[0] = jax.block_until_ready(copies(carried[0]))

    return side


def sides(name: str, shapes) -> dict:
    own, theirs, streams = PAIRS[name]
    found = {"ours": of_keras(own, shapes), "Keras": of_keras(theirs, shapes)}
    if BACKEND == "tensorflow":
        found["kernel"] = of_kernels(name, shapes)
    elif BACKEND == "jax":
        found["optax"] = of_optax(name, shapes)
    else:
        found["torch foreach"] = of_torch(name, shapes, foreach=True)
        if name != "RMSprop" and not (name == "Adagrad" and on_gpu()):  # which torch has not
            found["torch fused"] = of_torch(name, shapes, fused=True)
    return found | {"copy": of_copies(streams, shapes)}


def main() -> None:
    given = arguments(__doc__).parse_args()
    about = header()
    tables = []
    for title, shapes in weight_sets(given.quick).items():
        entries = sum(int(np.prod(shape)) for shape in shapes)
        tables.append(Table(f"{title}: {len(shapes)} weights, {entries / 1e6:.2f} M entries"))
        for name in PAIRS:
            times = measure(sides(name, shapes), *((2, 1) if given.quick else (9, 2)))
            each = {side: [t / UPDATES for t in values] for side, values in times.items()}
            tables[-1].add(optimizer=name, **row(each))
    write(given.json, about, tables)


if __name__ == "__main__":
    main()
