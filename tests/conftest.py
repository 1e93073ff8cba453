"""What every test starts from: fixed seeds, float32, and no test of another backend's library."""

import gc
import os
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:
    # JAX compiles every operation for every shape: what one test has compiled serves all others, in
    # whatever process.
    compiled = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled.name)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import keras
import pytest

# Tests of what only one backend has lie in files of its name.
collect_ignore_glob = [
    f"backend/test_{name}*.py"
    for name in ("tensorflow", "jax", "torch")
    if name != keras.backend.backend()
]

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Two devices, so that a strategy has replicas on any machine.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


@pytest.fixture(autouse=True)
def fixed_start():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True, scope="module")
def what_stays_is_looked_through_once():
    """TensorFlow keeps thousands of objects of every model, and a collection goes through all."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """What a test has measured is printed, under `-n 2` too."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
