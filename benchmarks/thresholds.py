"""Where the constants of the backends come from: how many weights to update in one go.

    python benchmarks/thresholds.py                   # TensorFlow; KERAS_BACKEND=torch

TensorFlow: 200 weights of a size, updated by Adam, so many in one call of XLA (`TOGETHER`, up to
`SMALL` entries). PyTorch: one weight of 16 M in blocks of a size (`BLOCK`), and 200 weights one by
one or laid end to end (`SMALL`), by a rule that has no kernel; one weight of 16 M by steps in
place, in blocks too; and losses in blocks of samples (`LOSS_BLOCK`). On a GPU, the constants of the
same names for GPUs. Medians in milliseconds.
"""

from __future__ import annotations

import statistics
from importlib import import_module

import keras
import losses as losses_benchmark
import updates
from harness import Table, arguments, header, measure, on_gpu, write

from keras_optim_losses import losses, optimizers

BACKEND = keras.backend.backend()


def rule():
    """Adam, with an argument that keeps kernels from being used."""
    return optimizers.Adam(clipvalue=1e9)


def under(constants, backend, function):
    """That function, called while constants of a module of `backend/` are others."""
    module = import_module(f"keras_optim_losses.backend.{backend}")
    kept = {name: getattr(module, name) for name in constants}

    def side():
        vars(module).update(constants)
        try:
            return function()
        finally:
            vars(module).update(kept)

    return side


def update(shapes, make=rule, **constants):
    """An update of these weights with other constants."""
    if BACKEND == "torch" and on_gpu():
        constants = {f"GPU_{name}": value for name, value in constants.items()}
    return under(constants, BACKEND, updates.of_keras(make, shapes))


def medians(sides: dict, repeats: int = updates.UPDATES) -> dict[str, float]:
    times = measure(sides, rounds=7, calls=2)
    return {name: 1e3 * statistics.median(each) / repeats for name, each in times.items()}


def main() -> None:
    given = arguments(__doc__).parse_args()
    about = header()
    sizes = [256, 1024] if given.quick else [64, 256, 512, 1024, 2**13, 2**15, 2**17]
    tables = [Table("200 weights, so many in one go")]
    for size in sizes:
        shapes = [(size,)] * 200
        if BACKEND == "tensorflow":
            ways = {
                f"{k} in a call": update(shapes, SMALL=2**20, TOGETHER=k) for k in (1, 2, 4, 8, 16)
            }
        else:
            ways = {
                "one by one": update(shapes, SMALL=0),
                "in blocks of 2^17": update(shapes, SMALL=2**20, BLOCK=2**17),
                "in blocks of 2^24": update(shapes, SMALL=2**20, BLOCK=2**24),
            }
        tables[-1].add(entries=size, **medians(ways))
    if BACKEND == "torch" and not on_gpu():
        tables.append(Table("one weight of 16 M, in blocks"))
        entries = 2**20 if given.quick else 16_000_000
        for way, make in {"the rule": rule, "in place": optimizers.RMSprop}.items():
            sizes = (14, 15, 16, 17, 18, 20, 24)
            blocks = {f"2^{k}": update([(entries,)], make, BLOCK=2**k) for k in sizes}
            tables[-1].add(way=way, **medians(blocks))
        batch, classes = (256, 32_000) if given.quick else (1024, 32_000)
        tables.append(Table(f"a loss of {batch} × {classes} from logits, in blocks"))
        for name, from_logits in losses_benchmark.CASES:
            if from_logits:
                inputs = losses_benchmark.inputs(name, from_logits, batch, classes)
                loss = getattr(losses, name)(from_logits=True)
                run = losses_benchmark.differentiated(loss, *inputs, repeats=1)
                blocks = {
                    f"2^{k}": under({"LOSS_BLOCK": 2**k}, "torch_losses", run)
                    for k in (17, 18, 19, 20, 21, 22)
                }
                tables[-1].add(loss=name, **medians(blocks, repeats=1))
    write(given.json, about, tables)


if __name__ == "__main__":
    main()
