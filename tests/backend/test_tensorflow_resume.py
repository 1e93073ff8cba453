"""Training that is killed goes on as if nothing had been, and a wrong file changes nothing."""

import random
import re
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import optimizers
from tests.backend import cluster, resume
from tests.models import assert_same, state


def run(folder, saves=None, seconds=0):
    """Start the run, and let it come to its end, or kill it.

    Args:
        folder: of the run.
        saves: it is killed when so many states have been saved,
        seconds: and so much time has gone by.

    Returns:
        How many states have been saved by each kind of training.
    """
    deadline = time.monotonic() + cluster.PATIENCE
    printed = folder / "printed"
    with printed.open("w") as output:
        process = cluster.start("-m", "tests.backend.resume", folder, output=output)
    try:
        while process.poll() is None and not (
            saves and printed.read_text().count("saved") >= saves
        ):
            assert time.monotonic() < deadline, "time is up"
            time.sleep(0.01)
        time.sleep(seconds)
    finally:
        process.kill()
        process.wait()
        print(printed.read_text())  # shown if something fails
    assert process.returncode == (-signal.SIGKILL if saves else 0)
    return {kind: printed.read_text().count(f"saved {kind}\n") for kind in resume.SAVES}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The weights of a run that was killed twice."""
    folder = tmp_path_factory.mktemp("run")
    seed = random.SystemRandom().randrange(2**32)
    print("moments by seed", seed)
    rng = random.Random(seed)
    for _ in range(2):
        epochs, seconds = rng.uniform(1, 4), rng.uniform(0, 0.1)
        run(folder, int(epochs * resume.SAVES_PER_EPOCH), seconds)
    saved = run(folder)
    for kind in resume.SAVES:
        assert saved[kind] < resume.SAVES[kind], f"{kind} did not go on but began anew"
    return dict(np.load(folder / "weights.npz"))


@pytest.fixture(scope="module")
def unharmed():
    """The weights of a run in this process, which saves nothing."""
    by_fit, by_loop = resume.models("fit"), resume.models("loop")
    for model in by_fit:
        resume.fit(model)
    resume.loop(by_loop, tf.Variable(0))
    return resume.weights(by_fit, by_loop)


@pytest.mark.parametrize("kind", ["fit", "loop"])
@pytest.mark.parametrize("cls", resume.OPTIMIZERS)
def test_killed_training_goes_on_bit_for_bit(cls, kind, killed, unharmed):
    names = [name for name in unharmed if name.startswith(f"{cls.__name__}/{kind}/")]
    assert len(names) == 2
    for name in names:
        np.testing.assert_array_equal(killed[name], unharmed[name])


# What is wrong is an error, and changes nothing


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)


def made(optimizer, units=3):
    keras.utils.set_random_seed(len(optimizer.name))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    model.compile(optimizer, "mse")
    return model


def built(optimizer, units=3):
    model = made(optimizer, units)
    optimizer.build(model.trainable_variables)
    return model


def write(model, folder):
    return tf.train.Checkpoint(model=model).save(folder / "checkpoint")


def assert_restoring_changes_nothing(model, path, error, message):
    for variable in (variables := [*model.variables, *model.optimizer.variables]):
        variable.assign(tf.cast(tf.fill(variable.shape, 7), variable.dtype))
    with pytest.raises(error, match=message):
        tf.train.Checkpoint(model=model).restore(path)
    for variable in variables:
        np.testing.assert_array_equal(np.asarray(variable), 7)


@pytest.mark.parametrize("cls", resume.OPTIMIZERS)
def test_a_checkpoint_of_another_optimizer(cls, tmp_path):
    path = write(built(cls()), tmp_path)
    for other in resume.OPTIMIZERS:
        if other is not cls:
            message = f"not that of this {other.__name__}: it was saved by a .*>{cls.__name__} "
            assert_restoring_changes_nothing(built(other()), path, ValueError, message)
            # Before the weights are known it is found out as well.
            assert_restoring_changes_nothing(made(other()), path, ValueError, message)


@pytest.mark.parametrize(
    "saved, loaded, message",
    [
        ({}, {"amsgrad": True}, r"4 entries \(momentum, velocity\), and 6 .*velocity_hat"),
        ({"use_ema": True}, {}, r"6 entries \(average, .*and 4"),
        ({}, {"gradient_accumulation_steps": 2}, "gradient_accumulator"),
        ({"skip_nonfinite": True}, {}, r"it has \['learning_rate', 'skipped_updates'\], not"),
        ({"learning_rate": SCHEDULE}, {}, r"it has \[\], not \['learning_rate'\]"),
    ],
)
def test_a_checkpoint_of_other_arguments(saved, loaded, message, tmp_path):
    path = write(built(optimizers.Adam(**saved)), tmp_path)
    assert_restoring_changes_nothing(built(optimizers.Adam(**loaded)), path, ValueError, message)
    model = made(optimizers.Adam(**loaded))
    with pytest.raises(ValueError, match=message):  # as soon as it can be known
        tf.train.Checkpoint(model=model).restore(path)
        model.fit(np.zeros((2, 4)), np.zeros((2, 3)), verbose=0)


@pytest.mark.parametrize("cls", [optimizers.SGD, optimizers.Adam])
def test_a_checkpoint_of_another_model(cls, tmp_path):
    path = write(built(cls()), tmp_path)
    message = r"shape of weight 0 is \(4, 3\), not \(4, 5\)"
    assert_restoring_changes_nothing(built(cls(), units=5), path, ValueError, message)


def test_a_checkpoint_from_before_the_first_step(tmp_path):
    path = write(made(optimizers.Adam()), tmp_path)
    model = built(optimizers.Adam())
    tf.train.Checkpoint(model=model).restore(path)  # there is nothing to lose
    model.optimizer.apply([tf.ones((4, 3)), tf.ones(3)])
    assert_restoring_changes_nothing(model, path, ValueError, "holds 0 entries")


def test_a_checkpoint_of_keras_is_told_by_asserting_a_match(tmp_path):
    """It says nothing of whose state it holds, and `restore` cannot refuse it."""
    for optimizer, matches in ((keras.optimizers.Adam(), False), (optimizers.Adam(), True)):
        path = write(built(optimizer), tmp_path)
        status = tf.train.Checkpoint(model=built(optimizers.Adam())).restore(path)
        if matches:
            status.assert_existing_objects_matched()
        else:
            with pytest.raises(AssertionError, match="Record"):
                status.assert_existing_objects_matched()


@pytest.mark.parametrize("way", ["cut short", "missing", "a byte is another"])
@pytest.mark.parametrize("part", [".index", ".data-00000-of-00001"])
def test_a_damaged_checkpoint(part, way, tmp_path):
    path = write(built(optimizers.Adam()), tmp_path)
    file = Path(path + part)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    if way == "cut short":
        file.write_bytes(content[:middle])
    elif way == "missing":
        file.unlink()
    else:
        content[middle] ^= 255
        file.write_bytes(content)
    # These are TensorFlow's own errors, which name the file or what is wrong with it.
    message = f"{re.escape(path)}|sstable|less bytes"
    errors = (tf.errors.OpError, IndexError)
    assert_restoring_changes_nothing(built(optimizers.Adam()), path, errors, message)


def test_a_damaged_backup(tmp_path):
    model = built(optimizers.Adam())
    x, y = np.ones((4, 4)), np.zeros((4, 3))
    backup = keras.callbacks.BackupAndRestore(str(tmp_path), delete_checkpoint=False)
    model.fit(x, y, callbacks=[backup], verbose=0)
    file = tmp_path / "latest.weights.h5"
    content = file.read_bytes()
    before = state(model)
    for length in range(0, len(content), len(content) // 5):
        file.write_bytes(content[:length])
        with pytest.raises(OSError, match="truncated|signature"):
            model.fit(x, y, epochs=2, callbacks=[backup], verbose=0)
        assert_same(before, state(model))


def test_a_rate_that_was_changed_is_the_same_after_a_restart(tmp_path):
    """Also where weights are float64, and the float32 variable of the rate holds another number."""

    def steps(optimizer, weight):
        step = tf.function(lambda: optimizer.apply([tf.ones(1, tf.float64)]), autograph=False)
        for _ in range(2):
            step()

    def start():
        weight = keras.Variable(np.ones(1), dtype="float64")
        optimizer = optimizers.SGD(0.1)
        optimizer.build([weight])
        return optimizer, weight, tf.train.Checkpoint(optimizer=optimizer, weight=weight)

    optimizer, weight, checkpoint = start()
    optimizer.learning_rate = 0.3
    path = checkpoint.save(tmp_path / "checkpoint")
    steps(optimizer, weight)
    again, same, checkpoint = start()
    checkpoint.restore(path)
    steps(again, same)
    np.testing.assert_array_equal(np.asarray(weight), np.asarray(same))
