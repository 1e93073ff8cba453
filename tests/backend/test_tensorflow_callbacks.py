"""The callbacks on what only TensorFlow has: TensorBoard, strategies, gradients of embeddings."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import callbacks, losses, optimizers
from tests.backend.replicas import mirrored
from tests.models import compiled, data

NAMES = ("gradient_norm", "update_norm", "update_ratio", "effective_rate")


def monitored(model, x, y, **arguments):
    monitor = callbacks.UpdateMonitor(per_layer=True, **arguments)
    return model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[monitor])


def test_tensorboard_sees_the_monitor(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorFlow no longer brings it")
    model = compiled(optimizers.Adam(0.01))
    x, y = data()
    given = [
        callbacks.UpdateMonitor(per_layer=True, update_freq="batch"),
        keras.callbacks.TensorBoard(tmp_path, update_freq="batch", write_graph=False),
    ]
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=given).history
    (file,) = (tmp_path / "train").iterdir()
    found: dict = {}
    for record in tf.data.TFRecordDataset(str(file)):
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
            found.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    for name in (*NAMES, *(f"{name}/hidden" for name in NAMES)):
        assert found[f"epoch_{name}"] == pytest.approx(history[name], rel=1e-6)
        assert len(found[f"batch_{name}"]) == 8


def test_replicas_measure_the_gradient_of_the_whole_batch():
    x, y = data()
    with mirrored().scope():
        model = compiled(optimizers.Adam(0.05, clipnorm=0.1))
    together = monitored(model, x, y).history
    alone = monitored(compiled(optimizers.Adam(0.05, clipnorm=0.1)), x, y).history
    assert set(together) == set(alone)
    for name in alone:
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-5)


def test_a_sweep_over_replicas_puts_everything_back():
    x, y = data()
    with mirrored().scope():
        model = compiled(optimizers.Adam(0.05))
    before = [np.asarray(v) for v in model.variables]
    finder = callbacks.LearningRateFinder(1e-4, 1.0, steps=6)
    finder.find(model, x, y, batch_size=8, shuffle=False)
    alone = callbacks.LearningRateFinder(1e-4, 1.0, steps=6)
    alone.find(compiled(optimizers.Adam(0.05)), x, y, batch_size=8, shuffle=False)
    np.testing.assert_allclose(finder.losses, alone.losses, rtol=1e-5)
    for one, other in zip(before, model.variables):
        np.testing.assert_array_equal(one, np.asarray(other))
    assert all((np.asarray(v) == 0).all() for v in model.optimizer.variables if "moment" in v.name)


@pytest.mark.parametrize("lazy", [False, True])
def test_gradients_of_rows_have_the_norm_of_their_dense_form(lazy):
    x = np.random.default_rng(0).integers(0, 10, (16, 4))
    y = np.random.default_rng(1).normal(size=(16, 2))
    histories = []
    for sparse in (False, True):
        keras.utils.set_random_seed(2)
        inputs = keras.Input((4,), dtype="int32")
        table = keras.layers.Embedding(10, 3, name="table")(inputs)
        outputs = keras.layers.Dense(2, name="head")(keras.layers.Flatten()(table))
        model = keras.Model(inputs, outputs)
        optimizer = optimizers.SGD(0.1, lazy=lazy and sparse)
        if not sparse:
            dense = optimizer.apply
            optimizer.apply = lambda g, v, dense=dense: dense(map(tf.convert_to_tensor, g), v)
        model.compile(optimizer, losses.MeanSquaredError())
        histories.append(monitored(model, x, y).history)
    for name in ("gradient_norm/table", "update_norm/table", "update_ratio/table"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)
