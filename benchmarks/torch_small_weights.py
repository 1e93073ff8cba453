"""Many weights on PyTorch: one update of Adam, ours against Keras' and against one by one.

    KERAS_BACKEND=torch python benchmarks/torch_small_weights.py

For each size of a weight it prints the median time of an update of 100 such weights: laid end to
end (what ours does up to `SMALL` entries), one at a time, and by Keras' own Adam, in turn.
"""

import statistics
import time

import keras
import numpy as np
import torch

from keras_optim_losses import optimizers
from keras_optim_losses.backend import torch as backend

WEIGHTS = 100
REPEATS = 30


def updater(optimizer, entries, small=None):
    """A function that makes one update of 100 weights, and returns how long it took."""
    weights = [keras.Variable(np.ones(entries, "float32")) for _ in range(WEIGHTS)]
    gradients = [torch.ones(entries) for _ in range(WEIGHTS)]
    optimizer.build(weights)

    def update():
        if small is not None:
            backend.SMALL = small
        start = time.perf_counter()
        with torch.no_grad():
            optimizer.apply(gradients, weights)
        return time.perf_counter() - start

    return update


def main():
    print(
        f"Keras {keras.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    print("entries   end to end   one by one   Keras' Adam   end to end / Keras")
    for entries in (16, 256, 512, 1024, 2048, 4096, 32768):
        sides = [
            updater(optimizers.Adam(epsilon_hat=True), entries, small=entries),
            updater(optimizers.Adam(epsilon_hat=True), entries, small=0),
            updater(keras.optimizers.Adam(), entries),
        ]
        times = [[side() for side in sides] for _ in range(REPEATS + 3)][3:]
        joined, single, theirs = (1e3 * statistics.median(column) for column in zip(*times))
        print(
            f"{entries:7d}   {joined:7.2f} ms   {single:7.2f} ms   {theirs:8.2f} ms"
            f"   {joined / theirs:8.2f}"
        )


if __name__ == "__main__":
    main()
