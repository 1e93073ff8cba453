"""What a user gets wrong: each row is an error that says so, before anything is changed.

A row is what the user does, how, and what the error says of it, in its order and with gaps: what
was wrong, and what to do about it. It is raised by this package, and not from inside a backend;
where Keras comes first, and the package cannot, the row says so.
"""

import json
import re
import traceback
import zipfile
from pathlib import Path

import fashion_mnist as example
import fashion_mnist_data
import keras
import numpy as np
import pytest
from keras import ops

import keras_optim_losses
from keras_optim_losses import losses, optimizers
from tests.models import compiled, data, network, train

BACKEND = keras.backend.backend()
PLACES = {"package": Path(keras_optim_losses.__file__).parent, "keras": Path(keras.__file__).parent}
Adam, SGD = optimizers.Adam, optimizers.SGD
BCE, CCE = losses.BinaryCrossentropy, losses.CategoricalCrossentropy
SCCE, MSE = losses.SparseCategoricalCrossentropy, losses.MeanSquaredError
schedules = keras.optimizers.schedules
NAN, INF = float("nan"), float("inf")
# Not tensors: the table is made before a test sets the scene.
P = np.full((2, 3), 1 / 3, "float32")
EYE = np.eye(3, dtype="float32")
RAGGED = [[1.0], [1.0, 2.0]]


def variable(*shape, dtype="float32", name=None):
    return keras.Variable(np.ones(shape, dtype), dtype=dtype, trainable=dtype != "int32", name=name)


def ones(*shape, dtype="float32"):
    return ops.convert_to_tensor(np.ones(shape), dtype=dtype)


class User:
    """What a user has in hand. All of it must stay as it is, whatever goes wrong."""

    def __init__(self):
        self.weights = [variable(3, 4, name="kernel"), variable(4, name="bias")]
        self.gradients = [ones(3, 4), ones(4)]
        self.trained = Adam(0.1, use_ema=True)
        self.trained.apply(self.gradients, self.weights)

    def starts(self, folder):
        self.folder = folder
        self.new = Adam(0.1)
        self.watched = []
        self.watch([*self.weights, *self.trained.variables])

    def watch(self, variables):
        self.watched += [(v, np.array(ops.convert_to_numpy(v))) for v in variables]

    def settings(self):
        return (
            self.new.built,
            int(self.new.iterations),
            self.new.get_config(),
            self.trained.get_config(),
            keras.config.floatx(),
        )

    def assert_nothing_changed(self, settings):
        for v, before in self.watched:
            now = np.asarray(ops.convert_to_numpy(v))
            assert now.dtype == before.dtype and now.tobytes() == before.tobytes(), v.path
        assert self.settings() == settings

    def model(self, loss=None, optimizer=None):
        """A compiled model."""
        model = compiled(Adam(0.1) if optimizer is None else optimizer, loss)
        if optimizer is None:
            model.optimizer.build(model.trainable_variables)
        self.watch([*model.variables, *model.optimizer.variables])
        return model

    def saved(self, **changes):
        """The state of the trained optimizer, with some entries replaced; None takes one away."""
        state = {}
        self.trained.save_own_variables(state)
        state |= {name.replace("_of_", "."): np.asarray(v) for name, v in changes.items()}
        return {name: v for name, v in state.items() if v.dtype != object}

    def file(self, part, change):
        """A model's file whose configuration of the optimizer or the loss was changed."""
        path, changed = self.folder / "model.keras", self.folder / "changed.keras"
        self.model().save(path)
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    change(config["compile_config"][part])
                    content = json.dumps(config)
                new.writestr(name, content)
        return changed


def row(what, do, says, kind=ValueError, where="package", only=None, late=False):
    """A row of the table.

    Args:
        what: what the user does.
        do: does it, with a `User`.
        says: parts of the error's text, in their order, with … between them.
        kind: of the exception.
        where: whose code raises it.
        only: backends that can tell, and why the others cannot.
        late: why it is told only after something has changed.
    """
    marks = []
    if only is not None:
        marks = pytest.mark.skipif(BACKEND not in only[0], reason=only[1])
    return pytest.param(do, says, kind, where, late, id=what, marks=marks)


def one(optimizer, gradient=None, weight=None):
    """One update of one weight of three entries."""
    gradient = ones(3) if gradient is None else gradient
    optimizer.apply([gradient], [variable(3) if weight is None else weight])


# Constructors, and what is set later


class Letters(optimizers.Optimizer):
    slots = "momentum"

    def rule(self, step, weight, gradient, momentum):
        return weight, momentum


class Forgets(optimizers.Optimizer):
    slots = ("one", "two")

    def rule(self, step, weight, gradient, one, two):
        return weight, one


class Sums(optimizers.Optimizer):
    def rule(self, step, weight, gradient):
        return ops.sum(weight - gradient)


class Nothing(optimizers.Optimizer):
    def rule(self, step, weight, gradient):
        weight - gradient


class NotKept(optimizers.Optimizer):
    def __init__(self, beta=0.9, **shared):
        super().__init__(**shared)


def set_rate(optimizer, value):
    optimizer.learning_rate = value


def excluding(**given):
    optimizer = Adam(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(**given)


CONSTRUCTORS = [
    row("a negative rate", lambda u: Adam(-1), "`learning_rate` … [0, inf) … -1"),
    row("a rate of NaN", lambda u: Adam(NAN), "`learning_rate` … [0, inf) … nan"),
    row("a rate in words", lambda u: Adam("fast"), "`learning_rate` … number … 'fast'"),
    row("a list of rates", lambda u: Adam([0.1, 0.2]), "`learning_rate` … number … [0.1, 0.2]"),
    row("a ragged rate", lambda u: Adam(RAGGED), "`learning_rate` … number"),
    row(
        "a schedule's class",
        lambda u: Adam(schedules.CosineDecay),
        "`learning_rate` … class CosineDecay … make an instance",
    ),
    row(
        "a rate by a function of the step",
        lambda u: Adam(lambda step: 0.1),
        "`learning_rate` … without arguments … 'step' … schedules",
    ),
    row("set: a negative rate", lambda u: set_rate(u.trained, -1), "`learning_rate` … [0, inf)"),
    row(
        "set: a vector of rates",
        lambda u: set_rate(u.trained, ones(2)),
        "`learning_rate` … scalar … (2,)",
    ),
    row(
        "set: a number for a schedule",
        lambda u: set_rate(Adam(schedules.CosineDecay(0.1, 9)), 0.5),
        "`learning_rate` … 0.5 … another schedule",
    ),
    row("set: a number for a function", lambda u: set_rate(Adam(lambda: 0.1), 0.5), "0.5 … Set"),
    row("an old name", lambda u: Adam(lr=0.1), "'lr' … learning_rate … clipnorm"),
    row("β₁ = 1", lambda u: Adam(beta_1=1), "`beta_1` … [0, 1) … 1"),
    row("a negative ε", lambda u: Adam(epsilon=-1e-7), "`epsilon` … [0, inf) … -1e-07"),
    row("a momentum above 1", lambda u: SGD(momentum=1.5), "`momentum` … [0, 1) … 1.5"),
    row("ρ as text", lambda u: optimizers.RMSprop(rho="0.9"), "`rho` … number … '0.9'"),
    row("a flag as text", lambda u: Adam(amsgrad="yes"), "`amsgrad` … True or False … 'yes'"),
    row("a negative decay", lambda u: SGD(weight_decay=-0.1), "`weight_decay` … -0.1"),
    row("clipping to 0", lambda u: SGD(clipnorm=0), "`clipnorm` … (0, inf) … 0"),
    row(
        "two clippings",
        lambda u: SGD(clipnorm=1.0, clipvalue=2.0),
        "only one … clipnorm=1.0 … clipvalue=2.0",
    ),
    row(
        "half an accumulation step",
        lambda u: SGD(gradient_accumulation_steps=2.5),
        "`gradient_accumulation_steps` … whole number … 2.5",
    ),
    row(
        "lazy with accumulation",
        lambda u: SGD(lazy=True, gradient_accumulation_steps=2),
        "`lazy` … gradient_accumulation_steps=2 … Give one of the two",
    ),
    row(
        "an average that overwrites every 0 updates",
        lambda u: SGD(use_ema=True, ema_overwrite_frequency=0),
        "`ema_overwrite_frequency` … 1 or more … 0",
    ),
    row("a name that is a number", lambda u: Adam(name=3), "`name` … string … 3"),
    row("a name with a slash", lambda u: Adam(name="a/b"), "`name` … '/' … a/b"),
    row(
        "patterns that are one string",
        lambda u: excluding(var_names="bias"),
        "`var_names` … list … str",
    ),
    row("a pattern that is none", lambda u: excluding(var_names=["("]), "`var_names` … '('"),
    row("names as weights", lambda u: excluding(var_list=["bias"]), "variables … str"),
    row(
        "one weight as a list",
        lambda u: excluding(var_list=u.weights[0]),
        "`var_list` … list … Variable",
    ),
    row(
        "exclusion after the first step",
        lambda u: u.trained.exclude_from_weight_decay(var_names=["bias"]),
        "before … built",
    ),
    row(
        "an optimizer without a rule",
        lambda u: one(optimizers.Optimizer()),
        "no formula … Define rule",
        kind=NotImplementedError,
    ),
    row("slots without a comma", lambda u: one(Letters()), "`Letters.slots` … ('momentum',)"),
    row("a rule that forgets a slot", lambda u: one(Forgets()), "`Forgets.rule` … one, two"),
    row("a rule of another shape", lambda u: one(Sums()), "`Sums.rule` … (3,) … [()]"),
    row("a rule without a return", lambda u: one(Nothing()), "`Nothing.rule` … NoneType"),
    row("an argument not kept", lambda u: NotKept().get_config(), "`beta` … self.beta = beta"),
    row("smoothing of 1.5", lambda u: CCE(label_smoothing=1.5), "`label_smoothing` … [0, 1]"),
    row("smoothing per class", lambda u: BCE(label_smoothing=[0.1]), "`label_smoothing` … number"),
    row("logits as text", lambda u: BCE(from_logits="no"), "`from_logits` … True or False"),
    row("an axis of 1.5", lambda u: CCE(axis=1.5), "`axis` … whole number … 1.5"),
    row("class weights by name", lambda u: SCCE(class_weight={0: 1.0}), "`class_weight` … {0: 1"),
    row("a negative class weight", lambda u: CCE(class_weight=[1, -1]), "`class_weight[1]` … -1"),
    row("ragged class weights", lambda u: CCE(class_weight=RAGGED), "`class_weight[0]` … number"),
    row("a ragged positive weight", lambda u: BCE(pos_weight=RAGGED), "`pos_weight[0]` … number"),
    row("an ignored class of 1.5", lambda u: SCCE(ignore_class=1.5), "`ignore_class` … 1.5"),
    row("an unknown reduction", lambda u: MSE(reduction="avg"), "`reduction` … 'sum' … 'avg'"),
    row("a list of reductions", lambda u: MSE(reduction=["sum"]), "`reduction` … ['sum']"),
    row("a type that is none", lambda u: MSE(dtype="float33"), "`dtype` … 'float32' … float33"),
    row("an integer loss", lambda u: MSE(dtype="int32"), "`dtype` … 'float32' … int32"),
    row("a loss's name with a slash", lambda u: MSE(name="a/b"), "`name` … a/b"),
    row("an argument that a loss has not", lambda u: MSE(axis=1), "'axis' … reduction"),
    row(
        "class weights by name, to the function",
        lambda u: losses.sparse_categorical_crossentropy([1, 2], P, class_weight={0: 1.0}),
        "`class_weight` … {0: 1.0}",
    ),
]

# One update


def rows(*indices):
    """A gradient of these rows of the kernel."""
    import tensorflow as tf

    return tf.IndexedSlices(tf.ones((len(indices), 4)), tf.constant(indices), (3, 4))


ONLY_TENSORFLOW = (
    ["tensorflow"],
    "a sparse tensor of PyTorch with such rows is none in itself, and JAX has none",
)
STATELESS = (["jax", "torch"], "Keras has no stateless_apply on TensorFlow")


def in_two_models(user):
    first = user.model()
    train(user.model(optimizer=first.optimizer))


def stateless(user, state=None, gradients=None, weights=None):
    values = [v.value for v in user.trained.variables] if state is None else state
    user.trained.stateless_apply(
        values,
        user.gradients if gradients is None else gradients,
        [v.value for v in user.weights] if weights is None else weights,
    )


APPLY = [
    row("no list of gradients", lambda u: u.new.apply(None, u.weights), "`grads` … list … None"),
    row(
        "one gradient and not a list",
        lambda u: u.new.apply(ones(3, 4), u.weights[:1]),
        "`grads` … list",
    ),
    row(
        "one weight and not a list",
        lambda u: u.new.apply([ones(3, 4)], u.weights[0]),
        "`trainable_variables` … list … Variable",
    ),
    row(
        "a model and not its weights",
        lambda u: u.new.apply(u.gradients, network()),
        "`trainable_variables` … list … Sequential",
    ),
    row(
        "gradients by name",
        lambda u: u.new.apply({"kernel": ones(3, 4)}, u.weights[:1]),
        "`grads` … list … dict",
    ),
    row(
        "too few gradients",
        lambda u: u.trained.apply(u.gradients[:1], u.weights),
        "one gradient for each … 1 gradients for 2 weights",
    ),
    row(
        "too many gradients",
        lambda u: u.new.apply([*u.gradients, ones(4)], u.weights),
        "3 gradients for 2 weights",
    ),
    row(
        "no gradient at all",
        lambda u: u.trained.apply([None, None], u.weights),
        "no gradient for any weight … Does the loss depend",
    ),
    row(
        "no weights at first",
        lambda u: u.new.apply(u.gradients),
        "needs the weights … build(trainable_variables)",
    ),
    row(
        "a gradient that would broadcast",
        lambda u: u.trained.apply([ones(1), ones(4)], u.weights),
        "shape of its weight … (1,) … kernel … (3, 4)",
    ),
    row(
        "a transposed gradient",
        lambda u: u.new.apply([ones(4, 3), ones(4)], u.weights),
        "shape of its weight … (4, 3) … kernel … (3, 4)",
    ),
    row(
        "a complex gradient",
        lambda u: u.trained.apply([ones(3, 4, dtype="complex64"), ones(4)], u.weights),
        "gradient of kernel … real numbers … complex64",
    ),
    row("a gradient in words", lambda u: one(u.new, "steep"), "gradient of … numbers"),
    row("a ragged gradient", lambda u: one(u.new, RAGGED), "gradient of … numbers … list"),
    row("a gradient that is any object", lambda u: one(u.new, object()), "gradient of … object"),
    row(
        "weights before gradients",
        lambda u: u.new.apply(u.weights, u.gradients),
        "variables … gradients come first",
    ),
    row(
        "weights before gradients, later",
        lambda u: u.trained.apply(u.weights, u.gradients),
        "variables … gradients come first",
    ),
    row(
        "weights before gradients, in pairs",
        lambda u: u.new.apply_gradients(zip(u.weights, u.gradients)),
        "variables … gradients come first",
    ),
    row(
        "gradients and no pairs",
        lambda u: u.new.apply_gradients(u.gradients),
        "`grads_and_vars` … pairs … zip(grads, weights)",
    ),
    row(
        "arrays as weights",
        lambda u: u.new.apply([ones(3)], [np.ones(3)]),
        "variables … trainable_variables … ndarray",
    ),
    row("None as a weight", lambda u: u.new.apply([ones(3)], [None]), "variables … NoneType"),
    row(
        "an integer weight",
        lambda u: one(u.new, None, variable(3, dtype="int32", name="step")),
        "float type … step … int32 … Leave it out",
    ),
    row(
        "a weight twice",
        lambda u: u.new.apply([ones(4), ones(4)], [u.weights[1], u.weights[1]]),
        "given once … bias … Add its gradients up",
    ),
    row(
        "a weight twice, later",
        lambda u: u.trained.apply([ones(4), ones(4)], [u.weights[1], u.weights[1]]),
        "given once … bias",
    ),
    row(
        "an unknown weight",
        lambda u: one(u.trained, None, variable(3, name="other")),
        "Unknown weight other … Make a new optimizer",
    ),
    row(
        "a second build with other weights",
        lambda u: u.trained.build([variable(3)]),
        "built for 2 other weights … Make a new optimizer",
    ),
    row(
        "a second build with some of the weights",
        lambda u: u.trained.build(u.weights[:1]),
        "cannot be built again … Make a new optimizer",
    ),
    row("a build from a model", lambda u: u.new.build(network()), "`variables` … list"),
    row("a build from one weight", lambda u: u.new.build(u.weights[0]), "`variables` … Variable"),
    row(
        "one optimizer in two models",
        in_two_models,
        "Unknown weight … hidden/kernel … Make a new optimizer for another model",
        late=BACKEND == "jax",  # its compiled step sees arrays; `fit` tells at its end
    ),
    row(
        "a rate in words from a function",
        lambda u: one(Adam(lambda: "fast")),
        "`learning_rate` … numbers",
    ),
    row("no rate from a function", lambda u: one(Adam(lambda: None)), "`learning_rate` … NoneType"),
    row(
        "rates from a function",
        lambda u: one(Adam(lambda: [0.1, 0.2, 0.3])),
        "`learning_rate` … scalar … (3,)",
    ),
    row(
        "a row beyond the table",
        lambda u: u.trained.apply([rows(0, 7)], u.weights[:1]),
        "row 7 … kernel … 0 to 2",
        only=ONLY_TENSORFLOW,
    ),
    row(
        "a negative row",
        lambda u: u.trained.apply([rows(0, -1)], u.weights[:1]),
        "row -1 … kernel",
        only=ONLY_TENSORFLOW,
    ),
    row(
        "stateless, before build",
        lambda u: u.new.stateless_apply([], u.gradients, u.gradients),
        "`stateless_apply` … build(",
    ),
    row(
        "stateless, without state",
        lambda u: stateless(u, state=[]),
        "`optimizer_variables` … 0 of shapes",
    ),
    row(
        "stateless, weights of another model",
        lambda u: stateless(u, weights=u.gradients[::-1]),
        "`trainable_variables` … (3, 4) … Make a new optimizer",
    ),
    row(
        "stateless, too few gradients",
        lambda u: stateless(u, gradients=u.gradients[:1]),
        "1 gradients for 2 weights",
        only=STATELESS,
    ),
]

# Losses


def fitting(user, loss, y, **arguments):
    x, _ = data()
    user.model(loss).fit(x, y, batch_size=8, verbose=0, **arguments)


class WithoutFormula(losses.Loss):
    pass


class NotReduced(losses.Loss):
    def call(self, y_true, y_pred):
        return y_true - y_pred


class Unreturned(losses.Loss):
    def call(self, y_true, y_pred):
        y_true - y_pred


COMPILED = (
    ["torch"],
    "a compiled step cannot raise: its loss is NaN, which tests/losses/test_pitfalls.py holds",
)
LOSSES = [
    row(
        "a class out of range", lambda u: SCCE()([1, 3], P), "whole numbers … subtract 1 … 3 among"
    ),
    row("a negative class", lambda u: SCCE()([1, -1], P), "`ignore_class` … -1 among"),
    row("half a class", lambda u: SCCE()([1.0, 1.5], P), "whole numbers … 1.5"),
    row("a class of NaN", lambda u: SCCE()([1.0, NAN], P), "whole numbers … nan"),
    row("an answer of 255", lambda u: BCE()([[255.0]], [[0.5]]), "[0, 1] … divide … 255.0 among"),
    row("an answer of −1", lambda u: BCE()([[-1.0]], [[0.5]]), "[0, 1] … map −1 to 0 … -1.0 among"),
    row("an answer of NaN", lambda u: BCE()([[NAN]], [[0.5]]), "[0, 1] … nan"),
    row("a negative share", lambda u: CCE()([[0, 1, -1.0]], P[:1]), "not negative … -1"),
    row("an infinite share", lambda u: CCE()([[0, INF, 1.0]], P[:1]), "finite … inf"),
    row("a value of NaN", lambda u: MSE()([[NAN]], [[1.0]]), "finite … `sample_weight` … nan"),
    row("an infinite value", lambda u: MSE()([[-INF]], [[1.0]]), "finite … -inf"),
    row(
        "one-hot rows for classes",
        lambda u: SCCE()(EYE[:2], P),
        "`y_true` … (2, 3) … CategoricalCrossentropy",
    ),
    row(
        "classes for one-hot rows",
        lambda u: CCE()([1, 2], P),
        "`y_true` … (2,) … SparseCategoricalCrossentropy … to_categorical",
    ),
    row("fewer labels", lambda u: SCCE()([1], P), "`y_true` … (1,) … one integer label"),
    row(
        "labels that would broadcast",
        lambda u: MSE()(np.ones((4, 3)), np.ones((4, 1))),
        "`y_true` … (4, 1) … (4, 3) … Reshape",
    ),
    row(
        "labels of a lower rank that would broadcast",
        lambda u: MSE()(np.ones(3), np.ones((3, 3))),
        "`y_true` … (3, 3) … (3,) … Reshape",
    ),
    row(
        "labels of a higher rank",
        lambda u: BCE()(np.ones((2, 3, 1, 1)), P),
        "`y_true` … (2, 3, 1, 1) … Reshape",
    ),
    row("a prediction that is one number", lambda u: MSE()(1.0, 1.0), "`axis` … ()"),
    row("an axis that is none", lambda u: BCE(axis=2)(P, P), "`axis` … (2, 3) … axis=2"),
    row("two weights of three classes", lambda u: SCCE(class_weight=[1, 2])([1, 2], P), "3 class"),
    row("two questions' weights of three", lambda u: BCE(pos_weight=[1, 2])(P, P), "2 weights"),
    row(
        "sample weights of another length",
        lambda u: MSE()(P, P, np.ones(3)),
        "`sample_weight` … (2,) … (3,)",
    ),
    row(
        "sample weights of a higher rank",
        lambda u: SCCE()([1, 2], P, np.ones((2, 3))),
        "`sample_weight` … (2,) … (2, 3)",
    ),
    row("sample weights by class", lambda u: MSE()(P, P, {0: 1.0}), "`sample_weight` … dict"),
    row("sample weights in words", lambda u: MSE()(P, P, ["a", "b"]), "`sample_weight` … numbers"),
    row("ragged sample weights", lambda u: MSE()(P, P, RAGGED), "`sample_weight` … list"),
    row("no labels", lambda u: MSE()(None, P), "`y_true` … NoneType"),
    row("no predictions", lambda u: MSE()(P, None), "`y_pred` … NoneType"),
    row("labels in words", lambda u: SCCE()(["cat", "dog"], P), "`y_true` … numbers"),
    row("words as an array", lambda u: SCCE()(np.array(["cat", "dog"]), P), "`y_true` … numbers"),
    row("ragged labels", lambda u: MSE()(RAGGED, P), "`y_true` … list"),
    row("labels by name", lambda u: MSE()({"a": P}, P), "`y_true` … dict"),
    row("outputs by name", lambda u: MSE()(P, {"a": P}), "`y_pred` … dict"),
    row("a list of outputs", lambda u: MSE()(P, [P.tolist()] * 2), "`y_true` … (2, 2, 3) … (2, 3)"),
    row("complex labels", lambda u: MSE()(P.astype("complex64"), P), "`y_true` … complex64"),
    row("complex outputs", lambda u: MSE()(P, P.astype("complex64")), "`y_pred` … complex64"),
    row("missing values", lambda u: MSE()(np.array([[None, 1, 2]]), P[:1]), "`y_true` … ndarray"),
    row(
        "a loss without a formula",
        lambda u: WithoutFormula()(P, P),
        "no formula … Define call",
        kind=NotImplementedError,
    ),
    row("a loss that does not reduce", lambda u: NotReduced()(P, P), "`NotReduced.call` … axis -1"),
    row("a loss without a return", lambda u: Unreturned()(P, P), "`Unreturned.call` … NoneType"),
    row(
        "fit: classes for one-hot rows",
        lambda u: fitting(u, CCE(), data()[1]),
        "`y_true` … to_categorical",
    ),
    row(
        "fit: one-hot rows for classes",
        lambda u: fitting(u, SCCE(), EYE[data()[1]]),
        "`y_true` … CategoricalCrossentropy",
    ),
    row(
        "fit: labels that would broadcast",
        lambda u: fitting(u, MSE(), data()[1]),
        "`y_true` … Reshape",
    ),
    row(
        "fit: sample weights of a higher rank",
        lambda u: fitting(u, SCCE(), data()[1], sample_weight=np.ones((32, 3))),
        "`sample_weight` … one value a sample",
    ),
    row(
        "fit: a class out of range",
        lambda u: fitting(u, SCCE(), data()[1] + 1),
        "subtract 1 … 3 among its entries",
        only=COMPILED,
    ),
]

# What comes from files and configurations


def newer(config):
    config["config"]["gamma"] = 0.5


def serialized(instance, change):
    config = keras.saving.serialize_keras_object(instance)
    change(config)
    return config


LOADERS = [
    row(
        "a configuration of a newer version",
        lambda u: Adam.from_config(Adam().get_config() | {"gamma": 0.5}),
        "'gamma' … newer version … update keras_optim_losses",
    ),
    row(
        "a loss's configuration of a newer version",
        lambda u: MSE.from_config(MSE().get_config() | {"gamma": 0.5}),
        "'gamma' … newer version … update keras_optim_losses",
    ),
    row(
        "a configuration of a newer version through Keras",
        lambda u: keras.saving.deserialize_keras_object(serialized(Adam(), newer)),
        "'gamma' … update keras_optim_losses",
    ),
    row("no configuration", lambda u: Adam.from_config(None), "Adam … dictionary … None"),
    row("a list as configuration", lambda u: MSE.from_config([1]), "dictionary … [1]"),
    row("a configuration out of range", lambda u: Adam.from_config({"beta_1": 2}), "`beta_1` … 2"),
    row(
        "exclusions as a list",
        lambda u: Adam.from_config({"exclude_from_weight_decay": ["bias"]}),
        "`exclude_from_weight_decay` … dictionary … ['bias']",
    ),
    row(
        "a schedule that nobody has registered",
        lambda u: Adam.from_config({"learning_rate": {"class_name": "Mine", "config": {}}}),
        "Could not locate class 'Mine' … register_keras_serializable",
        kind=TypeError,
        where="keras",
    ),
    row("get: a name misspelled", lambda u: optimizers.get("adm"), "'adm' … an instance … RMSprop"),
    row("get: Keras' short name", lambda u: losses.get("mse"), "'mse' … MeanSquaredError"),
    row("get: nothing", lambda u: optimizers.get(None), "None … an instance … RMSprop"),
    row("get: a class", lambda u: optimizers.get(Adam), "class … an instance"),
    row("get: a loss for an optimizer", lambda u: optimizers.get(MSE()), "optimizer … an instance"),
    row("get: an optimizer for a loss", lambda u: losses.get("Adam"), "loss … 'Adam'"),
    row(
        "get: a configuration of a newer version",
        lambda u: optimizers.get(serialized(Adam(), newer)),
        "'gamma' … update keras_optim_losses",
    ),
    row(
        "get: a list as configuration",
        lambda u: optimizers.get({"class_name": "Adam", "config": [1]}),
        "Adam … dictionary",
    ),
    row(
        "a file whose optimizer is of a newer version",
        lambda u: keras.models.load_model(u.file("optimizer", newer)),
        "'gamma' … update keras_optim_losses",
    ),
    row(
        "a file whose loss is of a newer version",
        lambda u: keras.models.load_model(u.file("loss", newer)),
        "'gamma' … update keras_optim_losses",
    ),
    row(
        "a file with a rate out of range",
        lambda u: keras.models.load_model(
            u.file("optimizer", lambda c: c["config"].update(learning_rate=-1.0))
        ),
        "`learning_rate` … -1",
    ),
    row(
        "a file with the state of another optimizer",
        lambda u: keras.models.load_model(
            u.file("optimizer", lambda c: c["config"].update(amsgrad=True))
        ),
        "not that of this Adam … velocity_hat … compile after loading",
        where="keras",  # which collects what fails, and raises it in one
    ),
    row(
        "state of Keras' optimizer",
        lambda u: u.trained.load_own_variables({"0": np.zeros(4), "1": np.zeros(4)}),
        "not written by an optimizer of keras_optim_losses … Compile after loading",
    ),
    row(
        "state that lacks a slot",
        lambda u: u.trained.load_own_variables(u.saved(**{"1_of_velocity": None})),
        "holds 5 entries … 6 … compile after loading",
    ),
    row(
        "state of one weight more",
        lambda u: u.trained.load_own_variables(u.saved(**{"2_of_velocity": np.zeros(4)})),
        "holds 7 entries … 6",
    ),
    row(
        "state of another shape",
        lambda u: u.trained.load_own_variables(u.saved(**{"1_of_velocity": np.zeros(5)})),
        "1.velocity is (5,), not (4,)",
    ),
    row(
        "state in words",
        lambda u: u.trained.load_own_variables(u.saved(**{"1_of_velocity": ["x"] * 4})),
        "'1.velocity' … real numbers … compile after loading",
    ),
    row(
        "complex state",
        lambda u: u.trained.load_own_variables(u.saved(**{"1_of_velocity": [1j] * 4})),
        "'1.velocity' … real numbers",
    ),
    row(
        "state of a newer version",
        lambda u: u.trained.load_own_variables(u.saved(curvature=np.zeros(4))),
        "'curvature' … not known to this version",
    ),
    row(
        "state that does not say whose it is",
        lambda u: u.trained.load_own_variables(u.saved(identity=np.array([0xFF], "uint8"))),
        "does not know what it says of itself",
    ),
    row(
        "a negative count of steps",
        lambda u: u.trained.load_own_variables(u.saved(iteration=-5)),
        "'iteration' … whole number from 0 to 2**31 − 2 … -5",
    ),
    row(
        "half a step",
        lambda u: u.trained.load_own_variables(u.saved(iteration=2.5)),
        "'iteration' … whole number … 2.5",
    ),
    row(
        "several counts of steps",
        lambda u: u.trained.load_own_variables(u.saved(iteration=[1, 2])),
        "'iteration' … whole number",
    ),
    row(
        "a saved rate of NaN",
        lambda u: u.trained.load_own_variables(u.saved(learning_rate=NAN)),
        "'learning_rate' … nan",
    ),
    row("weights for state: none", lambda u: u.trained.set_weights(None), "`weights` … list"),
    row(
        "weights for state: too few",
        lambda u: u.trained.set_weights([np.zeros(())]),
        "8 arrays … 1 of shapes",
    ),
    row(
        "weights for state: of other shapes",
        lambda u: u.trained.set_weights([np.zeros(2)] * 8),
        "8 arrays … (2,)",
    ),
    row("weights for state: before build", lambda u: u.new.set_weights([]), "call build("),
]


def assert_says(text, says):
    pattern = ".*".join(map(re.escape, says.split(" … ")))
    assert re.search(pattern, text, re.DOTALL), text


@pytest.fixture(scope="module")
def user():
    return User()


@pytest.mark.parametrize("do, says, kind, where, late", [*CONSTRUCTORS, *APPLY, *LOSSES, *LOADERS])
def test_the_error_says_what_is_wrong_and_nothing_is_changed(
    do, says, kind, where, late, user, tmp_path
):
    user.starts(tmp_path)
    settings = user.settings()
    with pytest.raises(kind) as caught:
        do(user)
    assert_says(str(caught.value), says)
    *_, innermost = traceback.extract_tb(caught.value.__traceback__)
    assert Path(innermost.filename).is_relative_to(PLACES[where]), innermost
    if not late:
        user.assert_nothing_changed(settings)


# The example's command line

COMMAND_LINE = {
    "an optimizer misspelled": ("--optimizer adm", "Unknown optimizer: 'adm' … RMSprop"),
    "a loss that is none": ("--loss hinge", "--loss … 'hinge' … sparse_categorical"),
    "a model that is none": ("--model rnn", "--model … 'rnn' … mlp"),
    "no epochs": ("--epochs 0", "--epochs … 1 or more … 0"),
    "epochs in words": ("--epochs five", "--epochs … 1 or more, and whole … five"),
    "half a sample": ("--batch-size 1.5", "--batch-size … 1 or more, and whole … 1.5"),
    "a negative batch": ("--batch-size=-64", "--batch-size … 1 or more … -64"),
    "a rate of NaN": ("--learning-rate nan", "--learning-rate … 0 or more … nan"),
    "a negative rate": ("--learning-rate=-0.1", "--learning-rate … 0 or more … -0.1"),
    "a rate in words": ("--learning-rate fast", "--learning-rate … 0 or more … fast"),
    "a negative seed": ("--seed=-1", "--seed … 0 or more … -1"),
    "a seed too large": ("--seed 4294967296", "--seed … less than 4294967296"),
    "too few images": ("--limit 9", "--limit … 10 or more … 9"),
    "an unknown option": ("--epoch-count 3", "--epoch-count"),
    "an option without its value": ("--optimizer", "--optimizer … expected one argument"),
    "a folder without the data": ("--data-dir nowhere", "nowhere … --data-dir … apt install"),
    "a file for the pictures' folder": ("--out taken", "--out taken … Name another"),
}


@pytest.mark.parametrize("arguments, says", COMMAND_LINE.values(), ids=COMMAND_LINE)
def test_the_command_line_says_what_is_wrong(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(fashion_mnist_data.VARIABLE, raising=False)
    (tmp_path / "taken").write_text("a file")
    if "--data-dir" not in arguments:
        monkeypatch.setattr(example, "load", lambda folder: fashion_mnist_data.read_subset())
    with pytest.raises(SystemExit) as stop:
        example.main(arguments.split())
    told = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in told
    assert_says(told, says)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_table_is_long_enough_and_says_what_is_wrong():
    table = [*CONSTRUCTORS, *APPLY, *LOSSES, *LOADERS]
    assert len(table) + len(COMMAND_LINE) >= 60
    assert all(says for _, says, *_ in (entry.values for entry in table))
    assert len({entry.id for entry in table}) == len(table)
