"""What every exported optimizer and loss must do. A new class is under it by being exported."""

import functools
import inspect
import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import losses, optimizers
from tests.models import assert_same, compiled, data, labels_for, network, state, train, values

OPTIMIZERS = [
    cls
    for cls in (getattr(optimizers, name) for name in optimizers.__all__)
    if inspect.isclass(cls) and cls is not optimizers.Optimizer
]
LOSSES = [
    cls
    for cls in (getattr(losses, name) for name in losses.__all__)
    if inspect.isclass(cls) and issubclass(cls, losses.Loss) and cls is not losses.Loss
]
every_optimizer = pytest.mark.parametrize("cls", OPTIMIZERS)
every_loss = pytest.mark.parametrize("cls", LOSSES)
# torch.compile takes a C++ compiler and a minute: tests/backend/test_torch.py has it.
both_jits = pytest.mark.parametrize(
    "jit_compile", [False] if keras.backend.backend() == "torch" else [False, True]
)

SHARED_OF_OPTIMIZERS = {
    "weight_decay": 0.01,
    "clipnorm": 1.5,
    "use_ema": True,
    "ema_momentum": 0.9,
    "ema_overwrite_frequency": 3,
    "loss_scale_factor": 8.0,
    "gradient_accumulation_steps": 2,
    "name": "mine",
}
SHARED_OF_LOSSES = {"reduction": "sum", "name": "mine", "dtype": "float64"}


def other_value(name, default):
    """A valid value for an argument that is not its default."""
    if isinstance(default, bool):
        return not default
    if isinstance(default, float):
        return default / 2 if default else 0.25
    if isinstance(default, int):
        return 2 if default > 0 else 0
    return [0.5, 1.0, 2.0] if name.endswith("weight") else 7


def own_arguments(cls):
    """The constructor arguments that a class adds, each with a value that is not its default."""
    if "__init__" not in vars(cls):
        return {}
    parameters = list(inspect.signature(cls).parameters.values())
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {p.name: other_value(p.name, p.default) for p in named}


# Optimizers


@every_optimizer
def test_optimizer_config_round_trip(cls):
    given = own_arguments(cls) | SHARED_OF_OPTIMIZERS
    config = cls(**given).get_config()
    assert given.items() <= config.items()
    assert cls.from_config(json.loads(json.dumps(config))).get_config() == config
    default = cls().get_config()
    assert cls.from_config(default).get_config() == default


@every_optimizer
def test_optimizer_config_holds_schedule_and_exclusions(cls):
    optimizer = cls(keras.optimizers.schedules.CosineDecay(0.1, 20), weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    again = optimizers.get(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is cls
    assert again.get_config() == optimizer.get_config()
    # A weight that decays moves without a gradient, the others stay.
    weights = [keras.Variable(np.ones(3, "float32"), name=name) for name in ("kernel", "bias")]
    again.apply([ops.zeros(3), ops.zeros(3)], weights)
    kernel, bias = values(weights)
    assert (kernel < 1).all() and (bias == 1).all()


@every_optimizer
@pytest.mark.parametrize(
    "arguments, policy",
    [
        ({}, "float32"),
        (SHARED_OF_OPTIMIZERS, "float32"),
        (SHARED_OF_OPTIMIZERS, "mixed_float16"),
        (SHARED_OF_OPTIMIZERS, "bfloat16"),
    ],
    ids=lambda given: given if isinstance(given, str) else "everything" if given else "plain",
)
def test_training_goes_on_from_a_keras_file_bit_for_bit(cls, arguments, policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    first = compiled(cls(**arguments))
    train(first)
    first.save(tmp_path / "model.keras")
    second = keras.models.load_model(tmp_path / "model.keras")
    assert_same(state(first), state(second))
    for model in (first, second):
        train(model)
    assert_same(state(first), state(second))


@every_optimizer
@pytest.mark.parametrize("built", [False, True])
def test_training_goes_on_from_weights_h5_bit_for_bit(cls, built, tmp_path):
    arguments = own_arguments(cls)
    first = compiled(cls(**arguments))
    train(first)
    first.save_weights(tmp_path / "state.weights.h5")
    second = compiled(cls(**arguments))
    if built:
        second.optimizer.build(second.trainable_variables)
    second.load_weights(tmp_path / "state.weights.h5")
    for model in (first, second):
        train(model)
    assert_same(state(first), state(second))


@every_optimizer
def test_optimizer_compiles_by_instance_config_and_name(cls):
    ways = [
        cls(),
        keras.saving.serialize_keras_object(cls()),
        optimizers.get(cls.__name__.upper()),
        optimizers.get(f"keras_optim_losses>{cls.__name__}"),
    ]
    results = []
    for way in ways:
        model = compiled(way)
        assert type(model.optimizer) is cls
        train(model)
        results.append(state(model))
    for result in results[1:]:
        assert_same(results[0], result)


@every_optimizer
@both_jits
def test_fit_evaluate_predict(cls, jit_compile):
    model = compiled(cls(learning_rate=0.05), metrics=["accuracy"], jit_compile=jit_compile)
    x, y = data()
    before, _ = model.evaluate(x, y, verbose=0)
    history = train(model, epochs=5)
    after, _ = model.evaluate(x, y, verbose=0)
    assert after < before and np.isfinite(history).all()
    assert model.predict(x, verbose=0).shape == (32, 3)
    assert int(model.optimizer.iterations) == 20


@functools.cache
def in_float32(cls):
    """Weights at the start, and the loss of each of 8 epochs."""
    model = compiled(cls(learning_rate=0.05))
    return model.get_weights(), train(model, epochs=8)


@every_optimizer
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_half_precision_trains_as_float32_does(cls, policy):
    initial, expected = in_float32(cls)
    keras.config.set_dtype_policy(policy)
    optimizer = cls(learning_rate=0.05)
    if policy == "mixed_float16":
        # The scale that Keras starts with overflows float16 on PyTorch: steps are left out.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model = compiled(optimizer)
    model.set_weights(initial)
    history = train(model, epochs=8)
    # A bfloat16 number has 8 bits; the loss of a p that is off by 2⁻⁸ is off by about as much, and
    # the few roundings on the way to p and back add up.
    np.testing.assert_allclose(history, expected, rtol=6 * 2**-8)
    kept = {keras.backend.standardize_dtype(v.dtype) for v in optimizer.variables}
    assert {dtype for dtype in kept if "float" in dtype} == {"float32"}


# Losses


def loss_arguments(cls):
    """Arguments for probabilities on the last axis."""
    return {k: v for k, v in own_arguments(cls).items() if k not in ("from_logits", "axis")}


@every_loss
def test_loss_config_round_trip(cls):
    given = own_arguments(cls) | SHARED_OF_LOSSES
    config = cls(**given).get_config()
    assert given.items() <= config.items()
    assert cls.from_config(json.loads(json.dumps(config))).get_config() == config
    assert losses.get(keras.saving.serialize_keras_object(cls(**given))).get_config() == config


@every_loss
@pytest.mark.parametrize("everything", [False, True])
def test_loss_survives_a_keras_file(cls, everything, tmp_path):
    given = loss_arguments(cls) | {"reduction": "sum", "name": "mine"} if everything else {}
    model = compiled(optimizers.SGD(), cls(**given))
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is cls
    assert loaded.loss.get_config() == model.loss.get_config()
    assert train(model) == train(loaded)


@every_loss
def test_loss_compiles_by_instance_config_and_name(cls):
    # Keras takes a dictionary for the losses of several outputs, so a config goes through `get`.
    ways = [
        cls(),
        losses.get(keras.saving.serialize_keras_object(cls())),
        losses.get(cls.__name__.lower()),
        losses.get(f"keras_optim_losses>{cls.__name__}"),
    ]
    histories = [train(compiled(optimizers.SGD(), way)) for way in ways]
    assert all(history == histories[0] for history in histories)


@every_loss
@both_jits
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_evaluate_is_the_loss_of_predict(cls, jit_compile, policy):
    keras.config.set_dtype_policy(policy)
    loss = cls(**loss_arguments(cls))
    model = compiled(optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    history = train(model, epochs=3)
    assert history[-1] < history[0]
    x, classes = data()
    y = labels_for(loss, classes)
    by_hand = float(loss(y, model.predict(x, batch_size=32, verbose=0)))
    # Compiled, a half-precision layer may keep more digits between operations: a rounding of p.
    rounding = {"float32": 2**-23, "mixed_float16": 2**-11, "mixed_bfloat16": 2**-8}[policy]
    evaluated = model.evaluate(x, y, batch_size=32, verbose=0)
    np.testing.assert_allclose(evaluated, by_hand, rtol=4 * rounding)


@every_loss
def test_loss_of_parts_and_whole(cls):
    x, classes = data()
    y, p = labels_for(cls(), classes), network().predict(x, verbose=0)
    total = cls(reduction="sum")
    parts = sum(float(total(y[i : i + 8], p[i : i + 8])) for i in range(0, 32, 8))
    each = ops.convert_to_numpy(cls(reduction=None)(y, p))
    assert each.shape == (32,)
    np.testing.assert_allclose(float(total(y, p)), parts, rtol=1e-6)
    np.testing.assert_allclose(float(total(y, p)), each.sum(), rtol=1e-6)
    np.testing.assert_allclose(float(cls()(y, p)), each.mean(), rtol=1e-6)
