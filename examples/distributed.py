"""Train one model in two processes, and see that it is the model that one process would train.

    python examples/distributed.py
    KERAS_BACKEND=jax python examples/distributed.py --optimizer momentum

starts both processes on this machine: with JAX through `keras.distribution`, with TensorFlow in a
loop of its own under MultiWorkerMirroredStrategy (`fit` fails under it, in Keras 3.15 itself), with
PyTorch under DistributedDataParallel.

On several machines start the same script once on each, with the same list of addresses and the
number of the machine in it. They meet at the first address (TensorFlow takes all of them): its port
must be open to the others.

    python examples/distributed.py --workers 10.0.0.1:4000,10.0.0.2:4000 --index 0    # on 10.0.0.1
    python examples/distributed.py --workers 10.0.0.1:4000,10.0.0.2:4000 --index 1    # on 10.0.0.2

Each process takes its share of every batch. Gradients are summed over the processes before anything
else is done with them, so that clipping and moments are those of the whole batch. At the end each
process trains a second model alone, on the same batches, and compares: the weights differ by
rounding, for sums have been added up in another order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import style
from fashion_mnist_data import read_subset
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from keras_optim_losses import losses, optimizers

BATCH = 64  # images in the batch that all processes share
CLOSE = 1e-3  # what rounding may come to in a few hundred steps of a weight around 0.1
PATIENCE = 600  # seconds that the processes on one machine may take


def batches(steps: int, share: slice = slice(None)) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each batch the share: images (b, 28, 28), float32 from 0 to 1, and classes (b,)."""
    data = read_subset()
    whole = len(data.train_images) // BATCH
    for step in range(steps):
        # The same in all processes, and another one each time all images have been seen.
        order = np.random.default_rng(step // whole).permutation(len(data.train_images))
        chosen = order[step % whole * BATCH :][:BATCH][share]
        yield data.train_images[chosen].astype("float32") / 255, data.train_labels[chosen]


def make(name: str) -> tuple[keras.Model, optimizers.Optimizer, losses.Loss]:
    """The same each time: equal seeds give equal weights in all processes."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((28, 28)), *layers])
    # Most gradients are above this limit: it must be that of the whole batch which is held to it.
    optimizer = type(optimizers.get(name))(global_clipnorm=0.5)
    return model, optimizer, losses.SparseCategoricalCrossentropy(from_logits=True)


def trained_by_keras(
    model: keras.Model, data: Iterator[tuple[np.ndarray, np.ndarray]]
) -> list[float]:
    """Train a compiled model; the loss of each batch."""
    history = []
    for x, y in data:
        model.reset_metrics()
        history.append(float(model.train_on_batch(x, y)))
    return history


# One function for each backend, which gives a model and the loss of each batch. But for the lines
# by which the processes find each other, it is how one trains on many devices of one machine.


def with_tensorflow(name: str, steps: int, workers: list[str], index: int) -> Any:
    import tensorflow as tf

    cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model, optimizer, loss = make(name)
        optimizer.build(model.trainable_variables)

    def on_each_replica(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    @tf.function
    def step(batch: Any) -> Any:
        # The parts of a mean over all replicas add up to it.
        return strategy.reduce("SUM", strategy.run(on_each_replica, args=batch), axis=None)

    def data(context: Any) -> Any:
        share = slice(context.input_pipeline_id, None, context.num_input_pipelines)
        types = (tf.TensorSpec((None, 28, 28), tf.float32), tf.TensorSpec((None,), tf.uint8))
        shares = tf.data.Dataset.from_generator(
            lambda: batches(steps, share), output_signature=types
        )
        # Where a process has several devices, each takes its part.
        return shares.rebatch(context.get_per_replica_batch_size(BATCH))

    return model, [float(step(batch)) for batch in strategy.distribute_datasets_from_function(data)]


def with_jax(name: str, steps: int, workers: list[str], index: int) -> Any:
    keras.distribution.initialize(",".join(workers), len(workers), index)
    # Each process brings its own share: nothing is left to be divided.
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    with distribution.scope():
        model, optimizer, loss = make(name)
        model.compile(optimizer, loss)
        share = batches(steps, slice(index, None, len(workers)))
        return model, trained_by_keras(model, share)


def with_torch(name: str, steps: int, workers: list[str], index: int) -> Any:
    import torch

    torch.distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        init_method=f"tcp://{workers[0]}",
        rank=index,
        world_size=len(workers),
    )
    model, optimizer, loss = make(name)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    history = []
    for x, y in batches(steps, slice(index, None, len(workers))):
        model.zero_grad()
        value = loss(y, parallel(x))
        value.backward()  # which takes the mean of the gradients over the processes
        gradients = [weight.value.grad for weight in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)
        mean = value.detach() / len(workers)
        torch.distributed.all_reduce(mean)
        history.append(float(mean))
    # A thread of Gloo's that has yet to let go of a tensor would wait for ever for the process that
    # takes it down: it does so while this one waits for the others.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return model, history


WAYS = {"tensorflow": with_tensorflow, "jax": with_jax, "torch": with_torch}


def alone(name: str, steps: int) -> tuple[keras.Model, list[float]]:
    """What one process makes of whole batches: a model, and the loss of each batch."""
    model, optimizer, loss = make(name)
    model.compile(optimizer, loss)
    return model, trained_by_keras(model, batches(steps))


def draw(
    path: Path, optimizer: str, together: list[float], single: list[float], workers: int
) -> None:
    """The losses of both models, one above the other."""
    style.use()
    colour = style.OPTIMIZERS[optimizer].colour
    figure, axis = pyplot.subplots(figsize=(9, 4), layout="constrained")
    count = range(1, len(single) + 1)
    axis.plot(count, single, color="0.75", linewidth=5, label="one process")
    axis.plot(count, together, color=colour, linewidth=1.5, label=f"{workers} processes")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="batch", ylabel="loss", title=f"{optimizer}, alone and together")
    style.legend_below(figure, axis.get_legend_handles_labels()[0], columns=2)
    style.save(figure, path)
    pyplot.close(figure)


def work(given: argparse.Namespace) -> None:
    """What each process does.

    Raises:
        RuntimeError: the processes did not train the model that one process trains.
    """
    way = WAYS[keras.backend.backend()]
    model, history = way(given.optimizer, given.steps, given.workers, given.index)
    single, expected = alone(given.optimizer, given.steps)
    pairs = zip(model.get_weights(), single.get_weights())
    apart = max(float(np.abs(one - other).max()) for one, other in pairs)
    print(
        f"Process {given.index} of {len(given.workers)}, {keras.backend.backend()}: loss "
        f"{history[-1]:.5f} after {given.steps} batches, alone {expected[-1]:.5f}. The weights "
        f"differ by {apart:.1e} at most."
    )
    if not apart < CLOSE:
        raise RuntimeError(f"the weights differ by more than {CLOSE}, which is no rounding")
    if given.index == 0:  # all have the same model
        given.out.mkdir(parents=True, exist_ok=True)
        picture, saved = given.out / "losses.png", given.out / "model.keras"
        optimizer = type(optimizers.get(given.optimizer)).__name__
        draw(picture, optimizer, history, expected, len(given.workers))
        model.save(saved)
        print("Wrote:")
        for path in (picture, saved):
            print(f"  {path} ({path.stat().st_size / 1000:,.0f} kB)")


def free_addresses(count: int) -> list[str]:
    """Ports of this machine that nobody uses, as the operating system gives them out."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    finally:
        for s in sockets:
            s.close()


def start_all(arguments: list[str], count: int) -> int:
    """Start the processes on this machine, and wait for them; 0 if all went well.

    The first writes to where this process does; what the others say is shown when one has failed.
    """
    workers = ",".join(free_addresses(count))
    command = [sys.executable, __file__, *arguments, "--workers", workers, "--index"]
    with contextlib.ExitStack() as files:
        logs = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(1, count)]
        processes = [
            subprocess.Popen([*command, str(i)], stdout=log, stderr=log and subprocess.STDOUT)
            for i, log in enumerate([None, *logs])
        ]
        deadline = time.monotonic() + PATIENCE
        try:
            codes = [p.poll() for p in processes]
            # When one has failed the others wait for it in vain.
            while None in codes and not any(codes) and time.monotonic() < deadline:
                time.sleep(0.1)
                codes = [p.poll() for p in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if codes == [0] * count:
            return 0
        if not any(codes):
            print(f"The processes have not come to an end within {PATIENCE} s.")
        for i, log in enumerate(logs, start=1):
            log.seek(0)
            print(f"--- process {i}:\n{log.read()}")
        return 1


def whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def addresses(text: str) -> list[str]:
    """HOST:PORT of two or more processes, among which a batch can be divided."""
    found = text.split(",")
    if not all(re.fullmatch(r"[^:\s]+:\d+", entry) for entry in found):
        raise argparse.ArgumentTypeError(f"must be HOST:PORT,HOST:PORT and so on, not {text!r}")
    if BATCH % len(found):
        raise argparse.ArgumentTypeError(
            f"a batch of {BATCH} cannot be divided among {len(found)} processes: name 2, 4, 8 …"
        )
    return found


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimizer", metavar="NAME", default="Adam", help="in any case")
    parser.add_argument("--steps", type=whole, default=280, help="batches, three epochs by default")
    parser.add_argument("--quick", action="store_true", help="20 batches")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("out/distributed"))
    several = parser.add_argument_group("on several machines")
    several.add_argument("--workers", metavar="HOST:PORT,…", type=addresses, help="all processes")
    several.add_argument("--index", type=int, metavar="I", help="which of them this is, from 0")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = parser()
    given = options.parse_args(arguments)
    if (given.workers is None) != (given.index is None):
        options.error("--workers and --index belong together: give both, or neither of them")
    if given.workers is None:
        try:
            # Only here: a process that is to meet others may not make variables before.
            optimizers.get(given.optimizer)
        except ValueError as error:
            options.error(str(error))
        return start_all(sys.argv[1:] if arguments is None else arguments, 2)
    if not 0 <= given.index < len(given.workers):
        options.error(f"--index must be from 0 to {len(given.workers) - 1}, not {given.index}")
    given.steps = 20 if given.quick else given.steps
    work(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
