"""A training run that may be killed at any moment and started again.

python -m tests.backend.resume FOLDER

Every optimizer trains twice, all side by side: in `fit` with BackupAndRestore, each in a thread,
and in a loop with a CheckpointManager. Each time a state has been saved, a line is printed. The
weights at the end are left in FOLDER/weights.npz.
"""

import functools
import json
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf

from keras_optim_losses import losses
from tests.models import data
from tests.test_contract import OPTIMIZERS

EPOCHS = 14
BATCH = 8
STEPS_PER_EPOCH = 4  # of 32 samples
STEPS_PER_SAVE = 3
STEPS = EPOCHS * STEPS_PER_EPOCH
SAVES = {"fit": EPOCHS * len(OPTIMIZERS), "loop": STEPS // STEPS_PER_SAVE}
SAVES_PER_EPOCH = len(OPTIMIZERS) + 1  # at least


def compiled(number, changes):
    """A model with an optimizer that has state of every kind.

    Args:
        number: of the optimizer.
        changes: whether its rate is a number, which is changed on the way, or a schedule.
    """
    keras.utils.set_random_seed(number)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="output")])
    rate = 0.05 if changes else keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.5)
    optimizer = OPTIMIZERS[number](
        rate,
        weight_decay=0.1,
        use_ema=True,
        ema_momentum=0.8,
        ema_overwrite_frequency=4,
        gradient_accumulation_steps=3,  # a cycle goes on from one epoch to the next
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def models(kind):
    """A model for each optimizer. Half of them have a schedule: those of the other kind do not."""
    return [compiled(i, changes=(i % 2 == 0) == (kind == "fit")) for i in range(len(OPTIMIZERS))]


def has_schedule(model):
    return model.optimizer.get_config()["learning_rate"].__class__ is dict


class Abreast:
    """Lets no training begin an epoch before all the others have come as far.

    So a kill finds all of them at work, however long it takes each to start.
    """

    def __init__(self, count):
        self.epochs = [0] * count
        self.changed = threading.Condition()

    def begin(self, number, epoch):
        with self.changed:
            self.epochs[number] = epoch
            self.changed.notify_all()
            self.changed.wait_for(lambda: min(self.epochs) >= epoch)

    def end(self, number):
        with self.changed:
            self.epochs[number] = EPOCHS
            self.changed.notify_all()


# With `fit`


def fit(model, callbacks=()):
    x, y = data()
    callbacks = [*callbacks]
    if not has_schedule(model):
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9))
    arguments = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    model.fit(x, y, callbacks=callbacks, **arguments)


def repair(folder):
    """Put the last backup but one in the place of one that was not finished.

    Keras writes the weights first and the epoch after them. Killed in between, it would do an epoch
    twice, or stumble over half a line.
    """
    weights, epoch = folder / "latest.weights.h5", folder / "training_metadata.json"
    try:
        with h5py.File(weights) as file:
            steps = int(file["optimizer/vars/iteration"][()])
        if steps == json.loads(epoch.read_text())["epoch"] * STEPS_PER_EPOCH:
            return
    except (OSError, KeyError, ValueError):
        pass
    for path in (weights, epoch):
        backup = path.with_name(path.name + ".bkp")
        if backup.exists():
            shutil.copy(backup, path)
        else:
            path.unlink(missing_ok=True)


def fit_with_backups(model, folder, begin):
    repair(folder)
    backup = keras.callbacks.BackupAndRestore(
        str(folder), double_checkpoint=True, delete_checkpoint=False
    )
    told = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begin(epoch),
        on_epoch_end=lambda epoch, logs: tell("fit"),
    )
    fit(model, [backup, told])


def tell(kind):
    os.write(1, f"saved {kind}\n".encode())  # at once, whichever thread it is


# With a loop


def loop(models, step, begin=lambda epoch: None, save=lambda: None):
    """From the given step on; a step is one of each model."""
    x, y = data()

    @tf.function(autograph=False)
    def train(x, y):
        for model in models:
            with tf.GradientTape() as tape:
                value = model.loss(y, model(x, training=True))
            gradients = tape.gradient(value, model.trainable_variables)
            model.optimizer.apply(gradients, model.trainable_variables)

    while step < STEPS:
        begin(int(step) // STEPS_PER_EPOCH)
        for model in models:
            if step == 10 and not has_schedule(model):
                model.optimizer.learning_rate = 0.01
        first = int(step) % STEPS_PER_EPOCH * BATCH
        train(tf.constant(x[first : first + BATCH]), tf.constant(y[first : first + BATCH]))
        step.assign_add(1)
        if step % STEPS_PER_SAVE == 0:
            save()
    for model in models:
        model.optimizer.finalize_variable_values(model.trainable_variables)


def loop_with_checkpoints(models, folder, begin):
    step = tf.Variable(0)
    checkpoint = tf.train.Checkpoint(step=step, models=models)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)
    manager.restore_or_initialize()
    loop(models, step, begin, lambda: (manager.save(), tell("loop")))


def weights(by_fit, by_loop):
    return {
        f"{cls.__name__}/{kind}/{i}": array
        for kind, trained in (("fit", by_fit), ("loop", by_loop))
        for cls, model in zip(OPTIMIZERS, trained)
        for i, array in enumerate(model.get_weights())
    }


def main(folder):
    by_fit, by_loop = models("fit"), models("loop")
    abreast = Abreast(len(by_fit) + 1)

    def train(number):
        begin = functools.partial(abreast.begin, number)
        try:
            if number < len(by_fit):
                fit_with_backups(by_fit[number], folder / f"backup{number}", begin)
            else:
                loop_with_checkpoints(by_loop, folder / "checkpoints", begin)
        finally:
            abreast.end(number)

    with ThreadPoolExecutor(len(by_fit) + 1) as pool:
        list(pool.map(train, range(len(by_fit) + 1)))  # raises what has been raised in a thread
    np.savez(folder / "unfinished.npz", **weights(by_fit, by_loop))
    os.replace(folder / "unfinished.npz", folder / "weights.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
