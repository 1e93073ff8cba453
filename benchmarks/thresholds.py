"""Where the constants of the backends come from: how many weights to update in one go.

    python benchmarks/thresholds.py                   # TensorFlow; KERAS_BACKEND=torch

TensorFlow: 200 weights of a size, updated by Adam, so many in one call of XLA (`TOGETHER`, up to
`SMALL` entries). PyTorch: one weight of 16 M in blocks of a size (`BLOCK`), and 200 weights one by
one or laid end to end (`SMALL`). Medians in milliseconds.
"""

from __future__ import annotations

import statistics
from importlib import import_module

import keras
import updates
from harness import Table, arguments, header, measure, write

from keras_optim_losses import optimizers

BACKEND = keras.backend.backend()


def adam(shapes, **constants):
    """Adam's update of these weights with other constants."""
    module = import_module(f"keras_optim_losses.backend.{BACKEND}")
    kept = {name: getattr(module, name) for name in constants}

    def with_constants(function):
        def side():
            vars(module).update(constants)
            try:
                return function()
            finally:
                vars(module).update(kept)

        return side

    return with_constants(updates.of_keras(optimizers.Adam, shapes))


def medians(sides: dict) -> dict[str, float]:
    times = measure(sides, rounds=7, calls=2)
    return {name: 1e3 * statistics.median(each) / updates.UPDATES for name, each in times.items()}


def main() -> None:
    given = arguments(__doc__).parse_args()
    about = header()
    sizes = [256, 1024] if given.quick else [64, 1024, 2**13, 2**15, 2**17]
    tables = [Table("200 weights, so many in one go")]
    for size in sizes:
        shapes = [(size,)] * 200
        if BACKEND == "tensorflow":
            ways = {
                f"{k} in a call": adam(shapes, SMALL=2**20, TOGETHER=k) for k in (1, 2, 4, 8, 16)
            }
        else:
            ways = {
                "one by one": adam(shapes, SMALL=0),
                "in blocks of 2^17": adam(shapes, SMALL=2**20, BLOCK=2**17),
                "in blocks of 2^24": adam(shapes, SMALL=2**20, BLOCK=2**24),
            }
        tables[-1].add(entries=size, **medians(ways))
    if BACKEND == "torch":
        tables.append(Table("one weight of 16 M, in blocks"))
        entries = 2**20 if given.quick else 16_000_000
        blocks = {f"2^{k}": adam([(entries,)], BLOCK=2**k) for k in (14, 15, 16, 17, 18, 20, 24)}
        tables[-1].add(**medians(blocks))
    write(given.json, about, tables)


if __name__ == "__main__":
    main()
