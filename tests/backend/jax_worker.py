"""Training over many devices with `keras.distribution`, checked against one device.

python -m tests.backend.jax_worker FOLDER                        one process with all devices
python -m tests.backend.jax_worker FOLDER ADDRESSES INDEX        one of several
"""

import sys
from pathlib import Path

import jax
import keras

from tests.backend import side_by_side
from tests.models import assert_same, values

SAMPLES = 40  # a last batch that is not full, but can be divided among eight devices
EVERY_OPTIMIZER = [case for case in side_by_side.CASES if case.endswith("accumulated")]


def data_parallel():
    return keras.distribution.DataParallel(auto_shard_dataset=False)


def model_parallel():
    """Each half of the devices has half of a batch, and each device in it a part of the weights."""
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((2, len(devices) // 2), ["batch", "model"], devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*table/embeddings"] = (None, "model")
    layout[".*top/kernel"] = ("model", None)
    return keras.distribution.ModelParallel(
        layout_map=layout, batch_dim_name="batch", auto_shard_dataset=False
    )


def trained(case, distribution=None, index=0, count=1):
    """A model, trained on this process' share of each batch, and the losses that `fit` reports."""
    keras.distribution.set_distribution(distribution)
    model, y = side_by_side.compiled(case, SAMPLES)
    x, _ = side_by_side.data(SAMPLES)
    history = side_by_side.fit(model, x[index::count], y[index::count], side_by_side.BATCH // count)
    return model, [*values([*model.weights, *model.optimizer.variables]), history]


def check_layouts(model):
    """State lies where its weight lies, also after a file."""
    table, top, bias = model.trainable_variables
    for weight, parts in ((table, True), (top, True), (bias, False)):
        assert weight.value.sharding.is_fully_replicated is not parts, weight.path
    state = [w for weight in model.optimizer._weights.values() for w in weight.state.values()]
    assert len(state) > 3
    for weight in model.optimizer._weights.values():
        expected = weight.variable.value.sharding
        for name, slot in weight.state.items():
            found = slot.value.sharding
            assert found.is_equivalent_to(expected, slot.value.ndim), (name, found, expected)


def check_all_devices(folder):
    assert jax.device_count() == 8
    for case in EVERY_OPTIMIZER:
        expected = trained(case)[1]
        model, got = trained(case, model_parallel())
        side_by_side.assert_close(got, expected)
        check_layouts(model)
    side_by_side.assert_close(trained(case, data_parallel())[1], expected)

    keras.distribution.set_distribution(model_parallel())
    model.save_weights(folder / "state.weights.h5")
    again, _ = side_by_side.compiled(case, SAMPLES)
    again.load_weights(folder / "state.weights.h5")
    assert_same(got[:-1], values([*again.weights, *again.optimizer.variables]))
    check_layouts(again)


def check_processes(addresses, index):
    count = len(addresses.split(","))
    keras.distribution.initialize(addresses, count, index)
    assert jax.process_count() == count and jax.device_count() > jax.local_device_count()
    expected = trained("Adam-accumulated")[1]
    for distribution in (data_parallel(), model_parallel()):
        _, got = trained("Adam-accumulated", distribution, index, count)
        side_by_side.assert_close(got, expected)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        check_all_devices(Path(sys.argv[1]))
    else:
        check_processes(sys.argv[2], int(sys.argv[3]))
