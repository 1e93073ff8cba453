"""check: what it takes, what it gives, and that it leaves everything as it was."""

import random

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_optim_losses import losses
from tests.losses.advice.right import classes, compiled, dense, rng, vectors

SCCE = losses.SparseCategoricalCrossentropy


def rules(findings):
    return [finding.rule for finding in findings]


# Untouched


class Noise(layers.Layer):
    """Counts its calls and draws random numbers in each, also where nothing is trained."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(3)
        self.calls = self.add_weight(initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x + 0.01 * keras.random.normal(ops.shape(x), seed=self.seed)


#: Where compiling costs more than a few steps do. JAX compiles each operation of an eager one.
EAGER = keras.backend.backend() != "jax"


def network(built=True, run_eagerly=EAGER):
    keras.utils.set_random_seed(5)
    start = [keras.Input((4,))] if built else []
    model = keras.Sequential(
        [
            *start,
            layers.Dense(3),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            Noise(),
        ]
    )
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)]
    loss = SCCE(from_logits=True)
    return compiled(model, loss, optimizer="adam", metrics=metrics, run_eagerly=run_eagerly)


def state(model):
    """Every bit that a model, its optimizer and its metrics hold."""
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    variables = [*model.variables, *model.optimizer.variables, *metrics]
    return [ops.convert_to_numpy(variable).tobytes() for variable in variables]


def data():
    return vectors(48), classes(3, 48)


def test_nothing_is_touched():
    model, (x, y) = network(), data()
    model.fit(x, y, verbose=0)
    seeds = random.getstate(), np.random.get_state()[1].tobytes()
    before = state(model)
    for labels in (y, y + 1):
        losses.check(model, x, labels)
    assert state(model) == before
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == seeds


def test_what_a_model_draws_is_drawn_again():
    class Draws(layers.Layer):
        def call(self, x):
            return x + random.random() * np.random.random()

    model = compiled(keras.Sequential([keras.Input((4,)), layers.Dense(1), Draws()]), "mse")
    seeds = random.getstate(), np.random.get_state()[1:3]
    losses.check(model, vectors(), vectors(64, 1))
    after = random.getstate(), np.random.get_state()[1:3]
    np.testing.assert_equal(after, seeds)


@pytest.mark.parametrize("built", [True, False])
def test_training_is_the_same_after_a_check(built):
    results = []
    for looked in (False, True):
        model, (x, y) = network(built), data()
        if looked:
            assert losses.check(model, x, y) == []
        model.fit(x, y, batch_size=16, verbose=0)
        results.append(state(model))
    assert results[0] == results[1]


def test_a_model_stays_as_it_is_where_the_check_fails():
    model, (x, y) = network(), data()
    before = state(model)
    with pytest.raises(Exception, match="incompatible|shape|axis"):
        losses.check(model, x[:, :2], y)
    assert state(model) == before


# What it takes


def test_more_labels_are_looked_at_than_the_model_is_run_on():
    y = classes(3, 5000)
    y[4321] = 7
    assert rules(losses.check(network(), vectors(5000), y)) == ["label-out-of-range"]


def test_lists_of_numbers():
    model = compiled(dense(1, inputs=1), "mse")
    assert losses.check(model, [[1.0], [2.0]], [[1.0], [2.0]]) == []
    assert rules(losses.check(model, np.ones((3, 1)), [1.0, float("nan"), 2])) == [
        "labels-not-finite"
    ]


class Batches(keras.utils.PyDataset):
    """Three batches; the labels of the last go out of range where asked to."""

    def __init__(self, last=0):
        super().__init__()
        self.last = last

    def __len__(self):
        return 3

    def __getitem__(self, index):
        x = np.random.normal(size=(8, 4)) + random.random()  # augmented
        return x.astype("float32"), classes(3, 8) + (self.last if index == 2 else 0)


def test_a_pydataset():
    model = network()
    before = random.getstate(), np.random.get_state()[1].tobytes()
    assert losses.check(model, Batches()) == []
    assert rules(losses.check(model, Batches(1))) == ["label-out-of-range"]
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_a_tf_dataset_on_every_backend():
    tf = pytest.importorskip("tensorflow", reason="a tf.data.Dataset takes TensorFlow")
    x, y = data()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    assert losses.check(network(), batches) == []
    wrong = batches.map(lambda x, y: (x, y + 1)).repeat()
    assert rules(losses.check(network(), wrong)) == ["label-out-of-range"]
    weighted = batches.map(lambda x, y: (x, y + 3, tf.zeros_like(y, tf.float32)))
    assert losses.check(network(), weighted) == []


def test_a_data_loader_on_every_backend():
    torch = pytest.importorskip("torch", reason="a DataLoader takes PyTorch")
    model, (x, y) = network(), map(torch.as_tensor, data())
    before = torch.random.get_rng_state().numpy().tobytes()
    for labels, found in ((y, []), (y + 1, ["label-out-of-range"])):
        pairs = torch.utils.data.TensorDataset(x, labels)
        loader = torch.utils.data.DataLoader(pairs, batch_size=16, shuffle=True)
        assert rules(losses.check(model, loader)) == found
    assert torch.random.get_rng_state().numpy().tobytes() == before


def test_tensors_of_the_backend():
    x, y = (ops.convert_to_tensor(part) for part in data())
    assert losses.check(network(), x, y) == []
    halves = ops.cast(rng().random((48, 1)), "bfloat16")
    assert losses.check(compiled(dense(1), losses.MeanSquaredError()), x, halves) == []


def test_words_as_inputs_where_the_backend_has_them():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow has tensors of words")
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup, layers.Dense(1)])
    compiled(model, losses.BinaryCrossentropy(from_logits=True))
    assert losses.check(model, np.array([["a"], ["b"]]), [0, 1]) == []


# Several inputs and outputs


def towers(outputs, loss, **arguments):
    inputs = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    both = layers.Concatenate()(list(inputs.values()))
    ends = {
        "price": layers.Dense(1, name="price")(both),
        "kind": layers.Dense(3, name="kind")(both),
    }
    return compiled(keras.Model(inputs, outputs(ends)), loss, **arguments)


INPUTS = {"left": vectors(), "right": vectors()}
WRONG = {"price": vectors(64, 1), "kind": classes(3, 64) + 1}


@pytest.mark.parametrize(
    "outputs, loss, y",
    [
        (dict, {"price": "mse", "kind": SCCE(from_logits=True)}, WRONG),
        (lambda ends: list(ends.values()), ["mse", SCCE(from_logits=True)], list(WRONG.values())),
        (lambda ends: list(ends.values()), {"price": "mse", "kind": SCCE(from_logits=True)}, WRONG),
        (lambda ends: tuple(ends.values()), ["mse", SCCE(from_logits=True)], tuple(WRONG.values())),
        (
            lambda ends: {"of": ends["price"], "which": [ends["kind"]]},
            {"of": "mse", "which": [SCCE(from_logits=True)]},
            {"of": WRONG["price"], "which": [WRONG["kind"]]},
        ),
    ],
    ids=["dict", "list", "list by name", "tuple", "nested"],
)
def test_several_outputs(outputs, loss, y):
    model = towers(outputs, loss)
    (finding,) = losses.check(model, INPUTS, y)
    assert finding.rule == "label-out-of-range"
    assert finding.output in ("kind", "which/0")
    right = keras.tree.map_structure(lambda part: part - 1 if part.ndim == 1 else part, y)
    assert losses.check(model, INPUTS, right) == []


def test_a_subclass_with_a_dictionary_of_outputs():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.ends = {"price": layers.Dense(1), "kind": layers.Dense(3)}

        def call(self, x):
            return {name: end(x) for name, end in self.ends.items()}

    model = compiled(Two(), {"price": "mse", "kind": SCCE(from_logits=True)})
    (finding,) = losses.check(model, vectors(), WRONG)
    assert (finding.rule, finding.output) == ("label-out-of-range", "kind")


def test_weights_and_metrics_of_an_output():
    binary = losses.BinaryCrossentropy(from_logits=True)
    model = towers(
        dict,
        {"price": binary, "kind": SCCE(from_logits=True)},
        loss_weights={"price": 0.5, "kind": 2.0},
        weighted_metrics={"price": ["accuracy"], "kind": ["accuracy"]},
    )
    y = {"price": classes(2, 64), "kind": classes(3, 64)}
    (finding,) = losses.check(model, INPUTS, y)
    assert (finding.rule, finding.output) == ("threshold-of-logits", "price")
    y["kind"][7] = 9
    weights = {"price": np.ones(64), "kind": np.arange(64) != 7}
    assert rules(losses.check(model, INPUTS, y, weights)) == ["threshold-of-logits"]
    assert rules(losses.check(model, INPUTS, y)) == ["label-out-of-range", "threshold-of-logits"]


def test_one_loss_for_all_outputs():
    model = towers(lambda ends: [ends["price"], ends["kind"]], "mse")
    y = [vectors(64, 1), vectors(64, 1)]
    (finding,) = losses.check(model, INPUTS, y)
    assert (finding.rule, finding.output) == ("shapes-differ", "kind")


def test_class_weight_of_several_outputs():
    model = towers(dict, {"price": "mse", "kind": SCCE(from_logits=True)})
    y = {"price": vectors(64, 1), "kind": classes(3, 64)}
    found = losses.check(model, INPUTS, y, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
    assert rules(found) == ["class-weight-of-many"]
    assert "labels of 2 outputs" in found[0].message and "`fit` would stop" in found[0].message
    with pytest.raises(ValueError, match="class_weight"):
        model.fit(INPUTS, y, class_weight={0: 1.0, 1: 2.0, 2: 1.0}, verbose=0)


def test_class_weight_where_one_of_two_outputs_has_labels():
    model = towers(lambda ends: [ends["kind"], ends["price"]], [SCCE(from_logits=True), None])
    assert losses.check(model, INPUTS, classes(3, 64), class_weight={0: 1.0, 1: 2.0}) == []


def test_shared_and_nested_parts():
    shared = dense(3, activation="sigmoid")
    inputs = keras.Input((4,))
    outer = keras.Sequential([shared, layers.Reshape((3, 1)), layers.Flatten()])
    flatten = layers.Flatten()  # called on what has been through a sigmoid, and on what has not
    outputs = [outer(inputs), shared(inputs), flatten(shared(inputs)), flatten(dense(3)(inputs))]
    binary, logits = losses.BinaryCrossentropy(), losses.BinaryCrossentropy(from_logits=True)
    model = compiled(keras.Model(inputs, outputs), [logits, binary, binary, logits])
    y = [(vectors(64, 3) > 0.5).astype("float32")] * 4
    (finding,) = losses.check(model, vectors(), y)
    assert finding.rule == "activation-twice" and finding.output == model.output_names[0]


@pytest.mark.parametrize(
    "end",
    [
        lambda: layers.Dense(3, activation="sigmoid"),
        lambda: layers.Dense(3, activation=keras.activations.sigmoid),
        lambda: layers.Dense(3, activation=layers.Activation("sigmoid")),
        lambda: keras.Sequential(
            [
                layers.Dense(3, activation="sigmoid"),
                layers.Activation("linear"),
                layers.Dropout(0.1),
            ]
        ),
        lambda: keras.Sequential([layers.Dense(3), layers.Activation("sigmoid")]),
        lambda: layers.TimeDistributed(layers.Dense(3, activation="sigmoid")),
        lambda: layers.TimeDistributed(
            keras.Sequential([keras.Input((2,)), layers.Dense(3, activation="sigmoid")])
        ),
        lambda: keras.Sequential([layers.Dense(3, activation="sigmoid"), layers.Identity()]),
        lambda: lambda x: ops.sigmoid(layers.Dense(3)(x)),
        lambda: layers.Bidirectional(
            layers.SimpleRNN(3, activation="sigmoid", return_sequences=True), merge_mode="ave"
        ),
    ],
)
@pytest.mark.parametrize("from_logits", [True, False])
def test_an_activation_is_found_through_layers(end, from_logits):
    inputs = keras.Input((6, 2))
    loss = losses.BinaryCrossentropy(from_logits=from_logits)
    model = compiled(keras.Model(inputs, end()(inputs)), loss)
    found = losses.check(model, np.ones((16, 6, 2)), classes(2, 16, 6, 3))
    assert rules(found) == (["activation-twice"] if from_logits else [])


@pytest.mark.parametrize(
    "end", [layers.Softmax, lambda: layers.Dense(3, activation=layers.Softmax())]
)
def test_a_layer_that_is_an_activation(end):
    inputs = keras.Input((3,))
    model = compiled(keras.Model(inputs, end()(inputs)), SCCE(from_logits=True))
    (finding,) = losses.check(model, np.ones((1, 3)), [0])  # too few rows to tell by their sums
    assert finding.rule == "activation-twice"


# Losses in every form


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        "crossentropy",
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(),
        losses.sparse_categorical_crossentropy,
        losses.SparseCategoricalCrossentropy(),
        ["sparse_categorical_crossentropy"],
    ],
)
def test_a_loss_in_every_form(loss):
    model = compiled(dense(3), loss)
    found = losses.check(model, vectors(), classes(3, 64) + 1)
    assert rules(found) == ["label-out-of-range", "from-logits-missing"]


def test_a_loss_is_not_computed_of_labels_that_are_known_to_be_wrong(monkeypatch):
    """On a GPU, PyTorch would end the process over a class that is none."""
    model = compiled(dense(3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    monkeypatch.setattr(keras.Model, "compute_loss", lambda *_, **__: pytest.fail("was computed"))
    assert rules(losses.check(model, vectors(), classes(3, 64) + 1)) == ["label-out-of-range"]


def test_a_loss_that_is_not_known_is_left_alone():
    class Mine(keras.losses.BinaryCrossentropy):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    for loss in (Mine(), lambda y, p: ops.mean(ops.square(y - p), axis=-1)):
        assert losses.check(compiled(dense(1), loss), vectors(), 5 * vectors(64, 1)) == []


@pytest.mark.parametrize("family", [losses, keras.losses])
def test_integer_classes_on_another_axis(family):
    inputs = keras.Input((4, 3))
    loss = family.SparseCategoricalCrossentropy(axis=1)
    model = compiled(keras.Model(inputs, layers.Softmax(axis=1)(inputs)), loss)
    x = rng().normal(size=(16, 4, 3))
    found = losses.check(model, x, classes(4, 16, 3))
    # Keras itself has another axis than the last on PyTorch only.
    absent = keras.backend.backend() != "torch" and family is keras.losses
    assert rules(found) == (["loss-fails"] if absent else [])
    assert rules(losses.check(model, x, classes(5, 16, 3))) == ["label-out-of-range"]


def test_classes_on_another_axis():
    loss = losses.CategoricalCrossentropy(axis=1)
    inputs = keras.Input((4, 3))
    model = compiled(keras.Model(inputs, layers.Softmax(axis=1)(inputs)), loss)
    y = np.moveaxis(np.eye(4)[classes(4, 16, 3)], -1, 1)
    x = rng().normal(size=(16, 4, 3))
    assert losses.check(model, x, y) == []
    y[:, :, 0] = 0
    assert rules(losses.check(model, x, y)) == ["empty-rows"]


# What it gives


def test_findings_print_well():
    model = towers(dict, {"price": "mse", "kind": "sparse_categorical_crossentropy"})
    found = losses.check(model, INPUTS, WRONG)
    text = repr(found)
    assert text == str(found) and max(map(len, text.splitlines())) <= 88
    assert "ERROR label-out-of-range (output 'kind')\n  The labels go from 1 to 3." in text
    page = found._repr_html_()
    assert page.count("<tr>") == 3 and "<code>y = y - 1</code>" in page and "kind" in page
    assert found.errors == found and found.warnings == []
    nothing = found.warnings
    assert (
        repr(nothing)
        == nothing._repr_html_()
        == ("Labels, output and loss fit: nothing was found.")
    )


def test_a_message_cannot_write_html():
    finding = losses.advice.Finding("error", "rule", "<b>`<i>`", "<out>")
    page = losses.advice.Findings([finding])._repr_html_()
    assert "&lt;b&gt;<code>&lt;i&gt;</code>" in page and "&lt;out&gt;" in page


# Bad input


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (
            lambda: (keras.Sequential([layers.Dense(1)]), vectors(), vectors()),
            ["compiled", "model"],
        ),
        (lambda: ("model.keras", vectors(), vectors()), ["compiled", "'model.keras'"]),
        (lambda: (network(), vectors(), None), ["`y` must be given"]),
        (lambda: (network(), vectors(9), classes(3, 8)), ["same number of samples", "[8, 9]"]),
        (lambda: (network(), Batches(), classes(3, 8)), ["data set", "Batches"]),
        (lambda: (network(), iter([vectors()])), ["generator", "next(generator)"]),
        (lambda: (network(), []), ["`x`, `y`", "[]"]),
        (lambda: (network(), (np.ones((0, 4)) for _ in ())), ["generator"]),
        (
            lambda: (network(), vectors(2), np.array(["cat", "dog"])),
            ["`y`", "numbers", "np.unique"],
        ),
        (lambda: (network(), vectors(2), np.array([[1], [1, 2]], "object")), ["`y`", "object"]),
        (
            lambda: (network(), vectors(2), classes(3, 2), ["a", "b"]),
            ["`sample_weight`", "numbers"],
        ),
        (
            lambda: (towers(dict, {"price": "mse", "kind": "mse"}), INPUTS, {"price": vectors()}),
            ["'kind'", "keys ['price']"],
        ),
    ],
)
def test_bad_input_is_named(arguments, parts):
    with pytest.raises(ValueError) as error:
        losses.check(*arguments())
    for part in parts:
        assert part in str(error.value)


def test_an_empty_data_set():
    class Empty:
        def __iter__(self):
            return iter(())

    with pytest.raises(ValueError, match="at least one batch"):
        losses.check(network(), Empty())
