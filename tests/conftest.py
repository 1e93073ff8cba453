"""What every test starts from: fixed seeds, float32, and no test of another backend's library."""

import keras
import pytest

# Tests of what only one backend has lie in a file of its name.
collect_ignore = [
    f"backend/test_{name}.py"
    for name in ("tensorflow", "jax", "torch")
    if name != keras.backend.backend()
]


@pytest.fixture(autouse=True)
def fixed_start():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
