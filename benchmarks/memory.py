"""Peak memory of an update and of a loss with its gradient, each in a process of its own.

    python benchmarks/memory.py                       # TensorFlow; KERAS_BACKEND=jax or torch

The figure is by how much the process grows in three steps beyond what it held before the first:
weights, state and gradients for an update, labels and predictions for a loss; code that is compiled
and its workspace are in it, the gradient of a loss too. Adam on one weight of 16 M (64 MB), on a
table of 500 K × 64 (128 MB) with 1,024 ids (TensorFlow), and the losses at 1,024 × 32,000 (131 MB).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

import embeddings
import keras
import losses as losses_benchmark
import updates
from harness import Table, arguments, header, write

import keras_optim_losses
from keras_optim_losses import optimizers

BACKEND = keras.backend.backend()


def table_of(make):
    return embeddings.training(make, 500_000, skewed=False)


def loss_of(module, name: str):
    from_logits = None if name == "MeanSquaredError" else True
    y, p = losses_benchmark.inputs(name, from_logits, 1024, 32_000)
    given = {} if from_logits is None else {"from_logits": True}
    return losses_benchmark.differentiated(getattr(module, name)(**given), y, p, repeats=1)


def cases() -> dict:
    weight = [(4000, 4000)]
    found = {
        "Adam, 16 M": {
            "ours": lambda: updates.of_keras(optimizers.Adam, weight),
            "Keras": lambda: updates.of_keras(keras.optimizers.Adam, weight),
        }
    }
    if BACKEND == "tensorflow":
        theirs = keras.optimizers.Adam
        for title, own in (
            ("Adam, table", optimizers.Adam),
            ("Adam lazy, table", lambda: optimizers.Adam(lazy=True)),
        ):
            found[title] = {
                "ours": lambda own=own: table_of(own),
                "Keras": lambda: table_of(theirs),
            }
    for name in ("BinaryCrossentropy", "SparseCategoricalCrossentropy", "MeanSquaredError"):
        found[name] = {
            "ours": lambda name=name: loss_of(keras_optim_losses.losses, name),
            "Keras": lambda name=name: loss_of(keras.losses, name),
        }
    return found


def size() -> int:
    """The memory that this process holds now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def growth(work) -> int:
    """By how many bytes the process grows while it works, looked at every millisecond."""
    before = largest = size()
    done = threading.Event()

    def watch():
        nonlocal largest
        while not done.wait(1e-3):
            largest = max(largest, size())

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    done.set()
    thread.join()
    return max(largest, size()) - before


def grown(title: str, side: str) -> float:
    """MB by which a new process grows over three steps."""
    command = [sys.executable, __file__, "--one", title, side]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        step = cases()[sys.argv[2]][sys.argv[3]]()
        print(growth(lambda: [step() for _ in range(3)]) / 1e6)
        return
    given = arguments(__doc__).parse_args()
    about = header()
    table = Table("MB beyond weights, state and inputs")
    for title in list(cases())[: 1 if given.quick else None]:
        ours, theirs = (grown(title, side) for side in ("ours", "Keras"))
        table.add(case=title, ours=ours, Keras=theirs)
    write(given.json, about, [table])


if __name__ == "__main__":
    main()
