"""recommend: the loss, last layer and metric that fit labels, and what is said beside."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_optim_losses import losses
from tests.losses.advice.right import classes, compiled, dense, rng, vectors
from tests.losses.advice.test_check import Batches

BCE, CCE = losses.BinaryCrossentropy, losses.CategoricalCrossentropy
SCCE, MSE = losses.SparseCategoricalCrossentropy, losses.MeanSquaredError
HUBER = keras.losses.Huber
metrics = keras.metrics


def tags(*shape):
    return (rng().random(shape) < 0.3).astype("int32")


def rare(one_in, samples=4000):
    return (np.arange(samples) % one_in == 0).astype("int32")


def border(count, value, *shape):
    y = classes(count, *shape)
    y[:, 0] = value
    return y


# Labels, and what fits them: the loss, the units, the metric, and words of the warnings.
KINDS = {
    "digits": (classes(10, 2000), SCCE, 10, metrics.SparseCategoricalAccuracy, []),
    "with an axis of 1": (classes(3, 60, 1), SCCE, 3, metrics.SparseCategoricalAccuracy, []),
    "whole floats": (
        classes(3, 60).astype("float32"),
        SCCE,
        3,
        metrics.SparseCategoricalAccuracy,
        [],
    ),
    "from 1": (1 + classes(5, 60), SCCE, 5, metrics.SparseCategoricalAccuracy, ["`y = y - 1`"]),
    "a gap": (2 * classes(3, 60), SCCE, 5, metrics.SparseCategoricalAccuracy, ["No label is 1, 3"]),
    "a rare class": (
        np.where(rare(100) == 1, 3, classes(3, 4000)),
        SCCE,
        4,
        metrics.SparseCategoricalAccuracy,
        ["Class 3 has only 1.0%"],
    ),
    "one-hot": (np.eye(4)[classes(4, 60)], CCE, 4, metrics.CategoricalAccuracy, []),
    "a rare one-hot class": (
        np.eye(2)[rare(100)],
        CCE,
        2,
        metrics.F1Score,
        ["Class 1 has only 1.0%", "always choosing class 0 is right in 99.0%"],
    ),
    "probabilities": (rng().dirichlet([1, 1, 1], 60), CCE, 3, metrics.CategoricalAccuracy, []),
    "one-hot steps": (np.eye(4)[classes(4, 9, 6)], CCE, 4, metrics.CategoricalAccuracy, []),
    "yes or no": (classes(2, 60), BCE, 1, metrics.BinaryAccuracy, []),
    "True and False": (classes(2, 60) > 0, BCE, 1, metrics.BinaryAccuracy, []),
    "rarely yes": (rare(40), BCE, 1, metrics.AUC, ["2.5%", "97.5%", "pos_weight=39"]),
    "rarely no": (1 - rare(40), BCE, 1, metrics.AUC, ["2.5%", "pos_weight=0.0256"]),
    "tags": (tags(60, 6), BCE, 6, metrics.AUC, []),
    "signs": (2 * classes(2, 60) - 1, BCE, 1, metrics.BinaryAccuracy, ["(y + 1) / 2", "Hinge"]),
    "a mask": (tags(4, 32, 32, 1), BCE, 1, metrics.BinaryIoU, []),
    "a mask without channels": (tags(4, 32, 32), BCE, 1, metrics.BinaryIoU, []),
    "a mask of 8 bits": (255 * tags(4, 32, 32), BCE, 1, metrics.BinaryIoU, ["`y = y / 255`"]),
    "pixels": (classes(3, 4, 8, 8, 1), SCCE, 3, metrics.MeanIoU, ["above 2"]),
    "pixels with a border": (border(5, 255, 4, 8, 8), SCCE, 5, metrics.MeanIoU, ["above 4"]),
    "words": (classes(500, 100, 12), SCCE, 500, metrics.SparseCategoricalAccuracy, ["above 499"]),
    "words with padding": (
        border(9, -100, 30, 12),
        SCCE,
        9,
        metrics.SparseCategoricalAccuracy,
        ["above 8", "counts labels of -100 as wrong"],
    ),
    "real values": (rng().normal(size=400), MSE, 1, metrics.MeanAbsoluteError, []),
    "boxes": (rng().random((60, 4)), MSE, 4, metrics.MeanAbsoluteError, []),
    "heavy tails": (
        rng().standard_cauchy(2000),
        HUBER,
        1,
        metrics.MeanAbsoluteError,
        ["Keras does not save `delta`"],
    ),
    "prices": (rng().integers(20, 900, 2000), MSE, 1, metrics.MeanAbsoluteError, []),
    "grey levels": (
        rng().integers(0, 256, (4, 16, 16, 3)).astype("uint8"),
        MSE,
        3,
        metrics.MeanAbsoluteError,
        [],
    ),
    "negative whole numbers": (classes(9, 60) - 4, MSE, 1, metrics.MeanAbsoluteError, []),
    "one value": (np.full(60, 2.5), MSE, 1, metrics.MeanAbsoluteError, ["nothing to learn"]),
    "a missing value": (
        np.where(np.arange(60) == 7, np.nan, rng().normal(size=60)),
        MSE,
        1,
        metrics.MeanAbsoluteError,
        ["1 of 60 labels are NaN"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_fits(kind):
    y, loss, units, metric, words = KINDS[kind]
    found = losses.recommend(y)
    assert (type(found.loss), found.activation, found.units) == (loss, "linear", units)
    assert type(found.metric) is metric
    assert bool(found.warnings) == bool(words)
    assert [word for word in words if word not in " ".join(found.warnings)] == []
    assert getattr(found.loss, "from_logits", True)  # for there is no activation


# Keras' MeanIoU asks JAX for int64.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64:UserWarning")
@pytest.mark.parametrize("kind", [k for k in KINDS if KINDS[k][1] is not MSE and "mask" not in k])
def test_what_is_recommended_trains_and_passes_the_check(kind):
    y = KINDS[kind][0]
    found = losses.recommend(y)
    if kind == "from 1":
        y = y - 1
    if kind == "signs":
        y = (y + 1) / 2
    inner = y.shape[1:-1] if isinstance(found.loss, CCE) or y.shape[-1:] == (1,) else y.shape[1:]
    if kind == "tags":
        inner = ()
    model = keras.Sequential([keras.Input((*inner, 2)), layers.Dense(found.units)])
    compiled(model, found.loss, metrics=[found.metric])
    y = y[:8]
    x = np.ones((len(y), *inner, 2))
    found.metric.update_state(y, model(x))
    assert np.isfinite(ops.convert_to_numpy(found.metric.result()))
    assert losses.check(model, x, y) == []


def test_arguments_that_fit():
    assert losses.recommend(KINDS["pixels with a border"][0]).loss.ignore_class == 255
    assert losses.recommend(KINDS["words with padding"][0]).loss.ignore_class == -100
    assert losses.recommend(KINDS["yes or no"][0]).metric.get_config()["threshold"] == 0.0
    assert losses.recommend(KINDS["rarely yes"][0]).metric.curve.value == "PR"
    normal = np.concatenate([rng().normal(0, 2, 4000), [500, -700, 900, 800, 1e4]])
    huber = losses.recommend(normal).loss
    assert huber.delta == pytest.approx(1.345 * 2, rel=0.05)
    by_hand = huber.delta * (9 - 0.5 * huber.delta)  # δ(|e| − δ/2) beyond δ
    assert float(huber([[0.0]], [[9.0]])) == pytest.approx(by_hand, rel=1e-6)
    assert f"delta={huber.delta!r}" in repr(losses.recommend(normal))


def test_normal_values_have_no_heavy_tails():
    for y in (rng().normal(size=5000), rng().exponential(size=5000), rng().laplace(size=5000)):
        assert type(losses.recommend(y).loss) is MSE


# With the model, or its last layer


@pytest.mark.parametrize(
    "y, output, activation, units, from_logits, warnings",
    [
        (classes(5, 60), dense(5, activation="softmax"), "softmax", 5, False, []),
        (classes(5, 60), dense(5), "linear", 5, True, []),
        (classes(5, 60), layers.Dense(5, activation="softmax"), "softmax", 5, False, []),
        (classes(5, 60), dense(5, activation="sigmoid"), "linear", 5, True, ["is a sigmoid"]),
        (classes(5, 60), dense(4), "linear", 5, True, ["has 4 units. Give it 5"]),
        (classes(5, 60), dense(9), "linear", 9, True, ["No label is 5, 6, 7, 8"]),
        (1 + classes(5, 60), dense(6), "linear", 6, True, ["No label is 0"]),
        (classes(2, 60), dense(1, activation="sigmoid"), "sigmoid", 1, False, []),
        (classes(2, 60), dense(1, activation="relu"), "linear", 1, True, ["is a relu"]),
        (rng().random(60), dense(1, activation="sigmoid"), "sigmoid", 1, None, []),
        (rng().normal(size=60), dense(1, activation="sigmoid"), "sigmoid", 1, None, ["not reach"]),
        (rng().integers(20, 900, 2000), dense(1), "linear", 1, None, []),
        (tags(9, 6, 4), layers.TimeDistributed(layers.Dense(4)), "linear", 4, True, []),
        (classes(5, 60), layers.Lambda(lambda x: x), "linear", 5, True, ["could not be seen"]),
    ],
)
def test_the_last_layer_is_looked_at(y, output, activation, units, from_logits, warnings):
    found = losses.recommend(y, output)
    assert (found.activation, found.units) == (activation, units)
    assert getattr(found.loss, "from_logits", None) == from_logits
    assert len(found.warnings) == len(warnings)
    for part, warning in zip(warnings, found.warnings):
        assert part in warning


def test_several_outputs():
    inputs = keras.Input((4,))
    ends = [layers.Dense(1)(inputs), layers.Dense(3, activation="softmax")(inputs)]
    found = losses.recommend([rng().normal(size=60), classes(3, 60)], keras.Model(inputs, ends))
    assert [type(one.loss) for one in found] == [MSE, SCCE]
    assert found[1].activation == "softmax"
    found = losses.recommend({"age": rng().normal(size=60), "kind": classes(3, 60)})
    assert type(found["age"].loss) is MSE and type(found["kind"].loss) is SCCE


# Data sets


def test_a_pydataset():
    assert type(losses.recommend(Batches()).loss) is SCCE


def test_a_tf_dataset_of_labels_or_of_pairs():
    tf = pytest.importorskip("tensorflow", reason="a tf.data.Dataset takes TensorFlow")
    y = tf.data.Dataset.from_tensor_slices(classes(3, 60)).batch(8)
    for batches in (y, tf.data.Dataset.zip((y, y)), y.repeat()):
        found = losses.recommend(batches)
        assert (type(found.loss), found.units) == (SCCE, 3)
    assert "above 2" in found.warnings[0]  # for not all of them were seen


def test_a_data_loader():
    torch = pytest.importorskip("torch", reason="a DataLoader takes PyTorch")
    pairs = torch.utils.data.TensorDataset(torch.ones(60, 4), torch.as_tensor(classes(3, 60)))
    found = losses.recommend(torch.utils.data.DataLoader(pairs, batch_size=8))
    assert (type(found.loss), found.units, found.warnings) == (SCCE, 3, [])


# How it is shown, and bad input


def test_it_prints_well():
    found = losses.recommend(rare(40), dense(1, activation="sigmoid"))
    assert repr(found) == (
        "loss        `losses.BinaryCrossentropy()`\n"
        "last layer  1 unit, sigmoid\n"
        "metric      `keras.metrics.AUC(curve='PR')`\n"
        "reason      4,000 labels are 0 or 1: a question of yes or no for each.\n"
        "warning     Only 2.5% of the labels are 1: never saying so is right in 97.5%. Weigh\n"
        "            them, `pos_weight=39`, or use a focal loss."
    )
    page = found._repr_html_()
    assert page.count("<tr>") == 5 and "<code>pos_weight=39</code>" in page


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ((np.array(["cat", "dog"]),), ["`y`", "numbers", "np.unique"]),
        ((np.array([np.nan, np.inf]),), ["`y`", "finite"]),
        ((np.ones((0, 3)),), ["`y`", "samples", "(0, 3)"]),
        ((3.0,), ["`y`", "samples", "()"]),
        (([np.ones(3), np.ones(4)],), ["same number of samples", "[3, 4]"]),
        (((n for n in range(3)),), ["generator", "next(generator)"]),
        ((np.ones(3), "softmax"), ["`output`", "'softmax'"]),
        ((np.ones(3), keras.Sequential([layers.Dense(1)])), ["`output`", "last layer"]),
        (([np.ones(3), vectors(3)], dense(1)), ["`output`", "2 outputs"]),
    ],
)
def test_bad_input_is_named(arguments, parts):
    with pytest.raises(ValueError) as error:
        losses.recommend(*arguments)
    for part in parts:
        assert part in str(error.value)
