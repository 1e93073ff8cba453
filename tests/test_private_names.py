"""Names that are not public and the package cannot do without: a change there fails here."""

import keras
import numpy as np
import pytest
from keras.src.backend import get_keras_mask
from keras.src.random.seed_generator import global_seed_generator

from keras_optim_losses import losses, optimizers
from keras_optim_losses.losses.advice import compiled as advice_compiled
from keras_optim_losses.losses.advice import outputs
from tests.models import compiled, train


def test_iterations_counts_calls():
    optimizer = optimizers.SGD(gradient_accumulation_steps=3)
    weight = keras.Variable(np.ones(1, "float32"))
    for _ in range(5):
        optimizer.apply([keras.ops.ones(1)], [weight])
    assert int(np.asarray(optimizer._iterations)) == 5 and int(optimizer.iterations) == 1
    assert optimizer.variables[0] is optimizer._iterations


def test_learning_rate_is_a_variable_unless_it_is_a_function():
    optimizer = optimizers.SGD(0.5)
    assert isinstance(optimizer._learning_rate, keras.Variable)
    assert optimizer.variables[1] is optimizer._learning_rate
    assert callable(optimizers.SGD(lambda: 0.5)._learning_rate)


def test_build_makes_averages_and_accumulators_through_our_method():
    optimizer = optimizers.SGD(use_ema=True, gradient_accumulation_steps=2)
    weight = keras.Variable(np.ones(3, "float32"), dtype="bfloat16")
    optimizer.build([weight])
    for own, names in (("average", "average"), ("gradient_accumulator", "gradient_accumulator")):
        (variable,) = [v for v in optimizer.variables if v.name.endswith(names)]
        assert own in optimizer._weights[next(iter(optimizer._weights))].state
        assert tuple(variable.shape) == (3,) and variable.dtype == "float32"


class Asking(losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(y_pred - keras.ops.cast(y_true, y_pred.dtype), axis=-1)


def test_a_mask_reaches_the_loss():
    x = np.ones((2, 3, 1), "float32")
    x[:, 1:] = 0  # masked
    model = keras.Sequential([keras.Input((3, 1)), keras.layers.Masking(), keras.layers.Identity()])
    model.compile(optimizers.SGD(), Asking())
    # Of three entries in each row the first counts: ŷ − y is 1 there and 0 elsewhere.
    assert model.evaluate(x, np.zeros((2, 3, 1)), verbose=0) == 1.0


def test_the_mask_is_where_it_is_looked_for():
    layer = keras.layers.Masking()
    y_pred = layer(keras.ops.convert_to_tensor(np.array([[[1.0], [0.0]]], "float32")))
    mask = keras.ops.convert_to_numpy(get_keras_mask(y_pred))
    np.testing.assert_array_equal(mask, [[True, False]])


def test_the_global_seed_is_a_variable_that_moves_with_each_draw():
    before = np.asarray(global_seed_generator().state)
    keras.random.uniform(())
    assert (np.asarray(global_seed_generator().state) != before).any()


def test_the_model_calls_what_the_optimizer_overrides():
    """Keras' training steps go through `apply` or `stateless_apply`, which are ours."""
    called = []

    class Watched(optimizers.SGD):
        def scalars(self, step):  # which every way of carrying out a rule asks for first
            called.append(1)
            return {}

    train(compiled(Watched()))
    assert called


def test_a_symbolic_tensor_knows_the_layer_that_made_it():
    layer = keras.layers.Dense(2, activation="softmax")
    output = layer(keras.Input((3,)))
    operation, node, tensor = output._keras_history
    assert operation is layer and (node, tensor) == (0, 0)
    assert layer(keras.Input((3,)))._keras_history.node_index == 1
    assert outputs.of_tensor(output) == "softmax"


def test_a_model_keeps_what_it_was_compiled_with():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"], weighted_metrics=["mse"])
    assert model._compile_config.config["metrics"] == ["mae"]
    (place, _), *_ = advice_compiled.places(model, keras.ops.ones((2, 1)))
    assert advice_compiled.metrics_of(model, place) == ["mae", "mse"]


def test_fit_asks_the_model_for_its_training_function_after_the_batch_has_begun():
    """What it is called with is another matter: `backend.first_batch` knows, for each backend."""
    called = []

    class Replacing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            step = self.model.train_function
            self.model.train_function = lambda *given: called.append(len(given)) or step(*given)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 3)), np.ones((2, 1)), verbose=0, callbacks=[Replacing()])
    assert called == [2 if keras.backend.backend() == "jax" else 1]


def test_a_loss_keeps_an_axis_that_its_configuration_does_not():
    loss = keras.losses.SparseCategoricalCrossentropy(axis=1)
    assert "axis" not in loss.get_config() and loss._fn_kwargs["axis"] == 1


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="used on PyTorch")
def test_a_variable_is_its_parameter_unless_a_scope_has_another():
    variable, other = keras.Variable([1.0]), keras.ops.ones(1)
    assert variable.value is variable._value
    with keras.StatelessScope(state_mapping=[(variable, other)]):
        assert variable.value is other is not variable._value


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="used on TensorFlow")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_program_that_is_compiled_as_a_whole_is_known(jit_compile):
    """By a name that TensorFlow exports for Keras; the exact update of a table asks for it."""
    import tensorflow as tf

    found = []

    def step():
        found.append(tf.__internal__.get_enclosing_xla_context() is not None)

    tf.function(step, jit_compile=jit_compile)()
    step()
    assert found == [jit_compile, False]
