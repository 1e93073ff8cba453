"""Updates on TensorFlow: fused, in groups, by rows, over replicas, and without XLA."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_optim_losses import losses, optimizers
from keras_optim_losses.backend import tensorflow as backend
from tests.backend.replicas import mirrored
from tests.models import values
from tests.test_contract import every_optimizer, own_arguments

# A rounding or two in each of a few steps, of weights around 1.
ROUNDING = {"rtol": 1e-6, "atol": 8 * 2.0**-24}

every_way = pytest.mark.parametrize("way", ["eager", "graph", "xla"])


def stepper(optimizer, way):
    """`apply` run directly, in a graph, or in a compiled one."""
    if way == "eager":
        return optimizer.apply
    return tf.function(optimizer.apply, jit_compile=way == "xla", autograph=False)


def slices(rng, rows=12, count=5, width=3):
    """A sparse gradient with an id that occurs twice, and its dense form."""
    ids = rng.integers(0, rows - 2, count)  # the last two rows are never used
    ids[-1] = ids[0]
    given = rng.normal(size=(count, width)).astype("float32")
    dense = np.zeros((rows, width), "float32")
    np.add.at(dense, ids, given)
    return tf.IndexedSlices(tf.constant(given), tf.constant(ids), tf.constant([rows, width])), dense


SHARED = [
    {},
    {"clipnorm": 0.5},
    {"global_clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"weight_decay": 0.1},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
    {"loss_scale_factor": 4.0},
    {"gradient_accumulation_steps": 2},
]


def trained(optimizer, way, dense, dtype="float32", steps=4):
    """A table and a vector after steps with sparse or dense gradients; and the state."""
    rng = np.random.default_rng(7)
    table = keras.Variable(np.ones((12, 3), "float32"), dtype=dtype)
    vector = keras.Variable(np.ones(4, "float32"), dtype=dtype)
    optimizer.build([table, vector])
    step = stepper(optimizer, way)
    for _ in range(steps):
        sparse, full = slices(rng)
        gradient = tf.constant(full) if dense else sparse
        step([gradient, tf.constant(rng.normal(size=4).astype("float32"))])
    return values([table, vector, *optimizer.variables])


@pytest.mark.parametrize("shared", SHARED, ids=lambda shared: " ".join(shared) or "plain")
@pytest.mark.parametrize(
    "cls, way",
    [
        (optimizers.Adam, "eager"),
        (optimizers.Adam, "graph"),
        (optimizers.Adam, "xla"),
        (optimizers.Adagrad, "graph"),
    ],
)
def test_sparse_gradients_give_what_their_dense_form_gives(cls, shared, way):
    results = [trained(cls(0.1, **shared), way, dense) for dense in (False, True)]
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, **ROUNDING)


@every_way
@every_optimizer
def test_lazy_leaves_the_other_rows_and_their_state_alone(cls, way):
    rng = np.random.default_rng(3)
    shared = own_arguments(cls) | {"weight_decay": 0.1, "lazy": True}
    if cls is optimizers.GradientDescent:
        shared.pop("batches_per_update")
    optimizer, dense = cls(**shared), cls(**{**shared, "lazy": False})
    table, whole = (keras.Variable(np.ones((12, 3), "float32")) for _ in range(2))
    optimizer.build([table]), dense.build([whole])
    # In the first step all rows have a gradient, and state.
    start = tf.constant(rng.normal(size=(12, 3)).astype("float32"))
    optimizer.apply([start]), dense.apply([start])
    before = values([table, *optimizer.variables])
    sparse, full = slices(rng)
    stepper(optimizer, way)([sparse]), dense.apply([tf.constant(full)])
    after, expected = values([table, *optimizer.variables]), values([whole, *dense.variables])
    used = np.unique(sparse.indices)
    unused = np.setdiff1d(np.arange(12), used)
    for old, new, reference in zip(before, after, expected):
        if new.shape == (12, 3):
            np.testing.assert_array_equal(new[unused], old[unused])
            np.testing.assert_allclose(new[used], reference[used], **ROUNDING)
            assert (new[used] != old[used]).any()


def test_lazy_still_averages_and_constrains_all_rows():
    table = keras.Variable(np.ones((12, 3), "float32"))
    table.constraint = keras.constraints.MaxNorm(0.5, axis=1)
    optimizer = optimizers.Adam(0.1, lazy=True, use_ema=True, ema_momentum=0.5)
    sparse, _ = slices(np.random.default_rng(0))
    for _ in range(2):
        optimizer.apply([sparse], [table])
    assert (np.linalg.norm(values([table])[0], axis=1) < 0.5 + 1e-6).all()
    average = next(v for v in optimizer.variables if "average" in v.name)
    # The unused row: average 1 after the first update, then halfway to 0.5/√3.
    np.testing.assert_allclose(values([average])[0][-1], (1 + 0.5 / np.sqrt(3)) / 2, rtol=1e-6)


def test_lazy_and_accumulation_exclude_each_other():
    with pytest.raises(ValueError, match="Give one of the two"):
        optimizers.Adam(lazy=True, gradient_accumulation_steps=2)
    assert optimizers.Adam.from_config(optimizers.Adam(lazy=True).get_config()).lazy is True


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("lazy", [False, True])
def test_sparse_gradients_of_half_precision_tables(dtype, lazy):
    results = [
        trained(optimizers.Adam(0.1, lazy=lazy), "graph", dense, dtype) for dense in (False, True)
    ]
    if lazy:
        np.testing.assert_array_equal(results[0][0][-2:], 1)
        return
    half = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=half, atol=8 * 2.0**-24)


def test_numbers_of_rows_are_padded_to_powers_of_two():
    """So that XLA compiles for few of them, though every batch may have its own."""
    seen = []

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int64)])
    def summed(rows, ids):
        result = backend.reduced([backend.Rows(rows, ids)], ["float32"])[0]
        return result.values, result.indices

    for count in (1, 2, 5, 8, 9, 1000, 1024):
        ids = np.arange(count) // 2
        rows, at = summed(np.ones((count, 3), "float32"), ids)
        seen.append(rows.shape[0])
        assert at.shape == [rows.shape[0]]
        known = at < 2**62
        expected = np.bincount(ids)
        np.testing.assert_array_equal(at[known], np.arange(len(expected)))
        np.testing.assert_array_equal(rows[known], np.repeat(expected[:, None], 3, axis=1))
        np.testing.assert_array_equal(rows[~known], 0)
    assert seen == [1, 2, 8, 8, 16, 1024, 1024]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_ids_are_summed_in_a_compiled_graph_though_their_hashes_are_alike(dtype):
    """By `_first_places`, which tries another hash for those that have met an other id."""
    rng = np.random.default_rng(0)
    count = 48
    some = np.arange(100_000)
    first = (some.astype("uint32") * np.uint32(2654435761)) % (4 * count + 1)
    batches = {
        "one slot for all": some[first == 7][:count],
        "one id": np.full(count, 3),
        "few ids": rng.integers(0, 10, count),
        "wide apart": rng.integers(0, np.iinfo(dtype).max, count),
        "none": np.zeros(0),
    }
    compiled = tf.function(
        lambda rows, ids: backend.reduced([backend.Rows(rows, ids)], ["float64"])[0],
        jit_compile=True,
        autograph=False,
    )
    for name, ids in batches.items():
        ids = ids.astype(dtype)
        rows = rng.integers(0, 100, (len(ids), 2)).astype("float64")  # sums are exact
        found = compiled(rows, ids)
        at = np.asarray(found.indices)
        known = at != np.iinfo(dtype).max
        expected, places = np.unique(ids, return_inverse=True)
        total = np.zeros((len(expected), 2))
        np.add.at(total, places, rows)
        order = np.argsort(at[known])
        np.testing.assert_array_equal(at[known][order], expected, err_msg=name)
        np.testing.assert_array_equal(np.asarray(found.values)[known][order], total, err_msg=name)


@every_way
def test_small_gradients_of_an_id_that_occurs_often_add_up(way):
    """One by one they would be lost in the rounding of the weight, as in Keras' SGD."""
    table = keras.Variable(np.ones((5, 2), "float32"))
    optimizer = optimizers.SGD(1e-8)
    optimizer.build([table])
    rows = tf.IndexedSlices(tf.ones([1000, 2]), tf.zeros([1000], tf.int32), tf.constant([5, 2]))
    stepper(optimizer, way)([rows])
    # Rounded once, at the end.
    np.testing.assert_allclose(np.asarray(table)[0], 1 - 1e-5, rtol=0, atol=2.0**-24)
    np.testing.assert_array_equal(np.asarray(table)[1:], 1)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("lazy", [False, True])
def test_fit_with_batches_of_every_length(lazy, jit_compile):
    """No warning of a dense conversion or of retracing, and the last batch is not full."""
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(50, 4),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(2),
        ]
    )
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(0.05, lazy=lazy, clipnorm=1.0), loss, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    history = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in (3, 4, 7, 9):
            x = rng.integers(0, 50, (20, length))
            y = (x.mean(axis=1) > 25).astype("int32")
            history += model.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("way", ["graph", "xla"])
@every_optimizer
def test_groups_and_single_weights_are_updated_alike(cls, way, monkeypatch):
    """Small weights share a call, large ones do not; the results are the same."""
    shapes = [(3,), (2, 2), (3,), (), (3,), (5, 1), (3,), (3,), (64,), (2, 2)]
    results = []
    for small, together in ((4, 4), (0, 1)):
        monkeypatch.setattr(backend, "SMALL", small)
        monkeypatch.setattr(backend, "TOGETHER", together)
        rng = np.random.default_rng(0)
        weights = [keras.Variable(rng.normal(size=s).astype("float32")) for s in shapes]
        optimizer = cls(**own_arguments(cls))
        optimizer.build(weights)
        step = stepper(optimizer, way)
        for _ in range(3):
            step([tf.constant(rng.normal(size=s).astype("float32")) for s in shapes])
        results.append(values([*weights, *optimizer.variables]))
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, **ROUNDING)


@pytest.mark.parametrize("shared", [{"lazy": True}, {"use_ema": True, "clipnorm": 0.5}])
@every_optimizer
def test_without_xla_the_result_is_the_same(cls, shared, monkeypatch):
    shared = {**own_arguments(cls), **shared}
    if shared.get("lazy"):
        shared.pop("batches_per_update", None)
    results = [trained(cls(**shared), "graph", dense=False)]
    monkeypatch.setattr(backend, "has_xla", lambda: False)
    results.append(trained(cls(**shared), "graph", dense=False))
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, **ROUNDING)


def test_a_hyperparameter_that_changes_counts_at_once():
    """What has been compiled for the old value is dropped, as nothing is in eager Keras."""
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer = optimizers.SGD(1.0, momentum=0.5)
    gradient = tf.ones(2)
    optimizer.apply([gradient], [weight])
    optimizer.momentum = 0.25
    optimizer.apply([gradient])
    np.testing.assert_allclose(values([weight])[0], -1 - 1.25)
    optimizer.clipvalue = 0.5
    optimizer.apply([gradient])
    np.testing.assert_allclose(values([weight])[0], -2.25 - (0.25 * 1.25 + 0.5))


def test_the_learning_rate_is_no_constant_of_what_is_compiled(monkeypatch):
    compiled = []
    fused = backend.fused
    monkeypatch.setattr(backend, "fused", lambda f: compiled.append(f) or fused(f))
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer = optimizers.SGD(1.0, clipvalue=2.0)  # which no kernel has
    for rate in (1.0, 0.5, 0.25):
        optimizer.learning_rate = rate
        optimizer.apply([tf.ones(2)], [weight])
    np.testing.assert_allclose(values([weight])[0], -1.75)
    assert len(compiled) == 1


@pytest.mark.parametrize("make", [optimizers.SGD, optimizers.Momentum])
def test_the_table_is_written_in_place(make):
    """A step, by rows or exact, must not move the table to other memory, which is a copy."""

    def address():
        return np.frombuffer(memoryview(table.value.read_value()), "float32").ctypes.data

    table = keras.Variable(tf.zeros((2**20, 64)))
    optimizer = make(0.1)
    optimizer.build([table])
    sparse = tf.IndexedSlices(tf.ones((8, 64)), tf.range(8), tf.constant([2**20, 64]))
    step = tf.function(lambda: optimizer.apply([sparse]), autograph=False)
    step()
    before = address()
    for _ in range(3):
        step()
        assert address() == before
    column = np.asarray(table.value[:9, 0])
    assert (column[:8] <= -0.4 + 1e-6).all() and column[8] == 0


# Over replicas


@pytest.mark.parametrize("sparse", [False, True])
def test_one_replica_with_a_nan_skips_the_update_of_all(sparse):
    with mirrored().scope():
        weight = keras.Variable(np.ones((12, 3), "float32"))
        optimizer = optimizers.Adam(0.1, skip_nonfinite=True)
        optimizer.build([weight])

    def step(bad):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        spoilt = tf.where(tf.equal(replica, 1) & bad, np.float32("nan"), 1.0)
        gradient = tf.fill((12, 3), spoilt)
        if sparse:
            gradient = tf.IndexedSlices(gradient[:2], tf.constant([1, 4]), tf.constant([12, 3]))
        optimizer.apply([gradient], [weight])

    run = tf.function(lambda bad: mirrored().run(step, args=(bad,)))
    run(True)
    for copy in mirrored().experimental_local_results(weight.value):
        np.testing.assert_array_equal(copy, np.ones((12, 3)))
    assert int(optimizer.skipped_updates.numpy()) == 1
    run(False)
    first, second = mirrored().experimental_local_results(weight.value)
    np.testing.assert_array_equal(first, second)
    assert (first.numpy()[1] < 1).all()
    assert int(optimizer.skipped_updates.numpy()) == 1
