"""What only TensorFlow has: checkpoints, SavedModels, sparse gradients, graphs, strategies."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_optim_losses import losses, optimizers
from tests.losses.test_pitfalls import BAD
from tests.models import assert_same, compiled, data, state, train, values
from tests.test_contract import every_loss, every_optimizer, labels_for, own_arguments


@every_optimizer
def test_training_goes_on_from_a_checkpoint_bit_for_bit(cls, tmp_path):
    arguments = own_arguments(cls)
    first = compiled(cls(**arguments))
    train(first)
    path = tf.train.Checkpoint(model=first, optimizer=first.optimizer).save(tmp_path / "checkpoint")
    second = compiled(cls(**arguments))
    second.optimizer.build(second.trainable_variables)
    restored = tf.train.Checkpoint(model=second, optimizer=second.optimizer).restore(path)
    restored.assert_existing_objects_matched()
    for model in (first, second):
        train(model)
    assert_same(state(first), state(second))


@every_optimizer
def test_export_serves_the_same_predictions(cls, tmp_path):
    model = compiled(cls())
    train(model)
    model.export(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    x, _ = data()
    np.testing.assert_allclose(np.asarray(served.serve(x)), model.predict(x, verbose=0), rtol=1e-6)


@every_loss
def test_export_of_a_model_compiled_with_the_loss(cls, tmp_path):
    model = compiled(optimizers.SGD(), cls())
    train(model)
    model.export(str(tmp_path / "served"), verbose=False)
    x, _ = data()
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(np.asarray(served.serve(x)), model.predict(x, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("way", ["eager", "graph", "xla"])
@every_optimizer
def test_an_id_twice_in_a_batch_is_summed_first(cls, way):
    """Sparse gradients give what their dense form gives."""
    arguments = own_arguments(cls)
    rows = [[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]]
    slices = tf.IndexedSlices(tf.constant(rows), tf.constant([1, 3, 1]), tf.constant([5, 2]))
    dense = np.zeros((5, 2), "float32")
    dense[1], dense[3] = [11, 22], [3, 4]
    results = []
    for gradient in (slices, tf.constant(dense)):
        optimizer, weight = cls(**arguments), keras.Variable(np.ones((5, 2), "float32"))
        optimizer.build([weight])
        step = optimizer.apply
        if way != "eager":
            step = tf.function(optimizer.apply, jit_compile=way == "xla")
        for _ in range(4):
            step([gradient])
        results.append(values([weight, *optimizer.variables]))
    for a, b in zip(*results):
        # Weights start at 1, and a weight may be rounded there before it comes near 0.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=4 * 2**-24)
    assert (results[0][0][1] != 1).all()


def test_rmsprop_row_of_an_id_twice():
    weight = keras.Variable(np.ones((2, 1), "float32"))
    optimizer = optimizers.RMSprop(0.1)
    slices = tf.IndexedSlices(tf.constant([[1.0], [1.0]]), tf.constant([0, 0]), tf.constant([2, 1]))
    optimizer.apply([slices], [weight])
    # h = 0.1 · (1 + 1)², and 0.1 · 2/√0.4 = 0.316
    np.testing.assert_allclose(np.asarray(weight), [[0.684], [1.0]], atol=5e-4)


def test_embedding_trains():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            keras.layers.Embedding(10, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    model.compile(optimizers.Adam(0.05), losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).integers(0, 10, (64, 4))
    history = model.fit(x, (x[:, 0] > 4).astype("int32"), epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_float64_weights_follow_numpy(jit_compile):
    """Constants are not rounded to float32 on the way, also with clipping and decay."""
    weight = keras.Variable(np.ones(3), dtype="float64")
    optimizer = optimizers.Adam(0.1, weight_decay=0.3, clipvalue=0.7, epsilon=1e-3)
    optimizer.build([weight])
    step = tf.function(lambda g: optimizer.apply([g], [weight]), jit_compile=jit_compile)
    m, v, w = np.zeros(3), np.zeros(3), np.ones(3)
    for t in range(1, 40):
        g = np.sin(t * np.array([1.0, 2.0, 3.0]))
        step(tf.constant(g))
        g = np.clip(g, -0.7, 0.7)
        w = w - 0.1 * 0.3 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + (1 - 0.999) * g * g
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-3)
    np.testing.assert_allclose(np.asarray(weight), w, rtol=1e-12)


def test_first_apply_inside_a_graph_builds_and_restores():
    weight = keras.Variable(np.ones(2, "float32"))
    optimizer = optimizers.Adagrad(0.1, initial_accumulator_value=0.5)
    tf.function(lambda: optimizer.apply([tf.ones(2)], [weight]))()
    np.testing.assert_allclose(np.asarray(weight), 1 - 0.1 / np.sqrt(1.5), rtol=1e-6)


@every_loss
def test_unknown_batch_sizes_do_not_broadcast(cls):
    loss = cls()
    labels = labels_for(loss, np.array([0, 1, 2]))
    spec = [tf.TensorSpec([None, *labels.shape[1:]], labels.dtype), tf.TensorSpec([None, 3])]
    function = tf.function(loss, input_signature=spec)
    p = ops.convert_to_numpy(ops.softmax(np.random.rand(3, 3).astype("float32")))
    np.testing.assert_allclose(float(function(labels, p)), float(loss(labels, p)), rtol=1e-6)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        function(labels[:1], p)


def test_one_optimizer_for_one_model():
    optimizer = optimizers.Adam()
    train(compiled(optimizer))
    with pytest.raises(ValueError, match="Make a new optimizer for another model"):
        train(compiled(optimizer))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("loss, y, message", BAD)
def test_labels_out_of_range_are_nan_when_compiled(loss, y, message, jit_compile):
    y = tf.constant(y.astype("float32") if y.dtype == "float64" else y)
    function = tf.function(lambda y, p: loss(y, p), jit_compile=jit_compile)
    assert np.isnan(float(function(y, tf.fill([2, 3], 1 / 3)))), message
