"""Test accuracy after three epochs in half precision against float32, for every optimizer.

    python benchmarks/half_precision.py               # TensorFlow; KERAS_BACKEND=jax or torch

The MLP of the main example on Fashion-MNIST, batches of 64, the same start and the same order of
batches for each policy, one seed. The rate falls to 0 along a cosine: at one that stays, the last
batches alone decide on many points of accuracy, in float32 as in any other type.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import keras
from harness import Table, arguments, header, write

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from fashion_mnist import compile_model, make_model, make_optimizer, tasks
from fashion_mnist_data import load, read_subset

from keras_optim_losses import optimizers

BATCH = 64
POLICIES = ["float32", "bfloat16", "mixed_bfloat16", "mixed_float16"]


def accuracy(data, name: str, policy: str, shared: dict[str, bool], epochs: int) -> float:
    """Of the test images, in percent."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    model = make_model("mlp")
    task = tasks()["sparse_categorical"]
    optimizer = make_optimizer(name, None)
    config = optimizer.get_config()
    steps = epochs * math.ceil(len(data.train_images) / BATCH)
    rate = keras.optimizers.schedules.CosineDecay(config["learning_rate"], steps)
    optimizer = type(optimizer).from_config(config | shared | {"learning_rate": rate})
    compile_model(model, task, optimizer)
    model.fit(data.train_images, data.train_labels, batch_size=BATCH, epochs=epochs, verbose=0)
    result = model.evaluate(data.test_images, data.test_labels, batch_size=500, verbose=0)
    return 100 * result[1]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", help="these alone")
    given = parser.parse_args()
    about = header()
    data = read_subset() if given.quick else load()
    print(f"{len(data.train_images):,} images to train, {len(data.test_images):,} to test")
    names = [
        name
        for name in optimizers.__all__
        if isinstance(getattr(optimizers, name), type) and name != "Optimizer"
    ]
    table = Table("Test accuracy in percent after three epochs, and what it differs from float32")
    for name in given.optimizers or (names[-1:] if given.quick else names):
        start = time.perf_counter()
        figures = {
            policy: accuracy(data, name, policy, {}, 1 if given.quick else 3) for policy in POLICIES
        }
        figures["bfloat16, stochastic_rounding"] = accuracy(
            data, name, "bfloat16", {"stochastic_rounding": True}, 1 if given.quick else 3
        )
        largest = max(abs(value - figures["float32"]) for value in figures.values())
        seconds = round(time.perf_counter() - start)
        table.add(optimizer=name, **figures, **{"largest difference": largest, "s": seconds})
    write(given.json, about, [table])


if __name__ == "__main__":
    main()
