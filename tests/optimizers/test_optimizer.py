"""The base: what every optimizer shares, and what goes wrong in Keras and must not here."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import losses, optimizers
from tests.models import assert_same, compiled, data, network, state, train, values
from tests.test_contract import OPTIMIZERS, every_optimizer

ADAM_LIKE_KERAS = {"epsilon_hat": True}
PAIRS = [
    (optimizers.SGD, keras.optimizers.SGD, {}, {"momentum": 0.9, "nesterov": True}),
    (optimizers.Adagrad, keras.optimizers.Adagrad, {}, {}),
    (optimizers.RMSprop, keras.optimizers.RMSprop, {}, {"centered": True, "momentum": 0.5}),
    (optimizers.Adam, keras.optimizers.Adam, ADAM_LIKE_KERAS, {"amsgrad": True}),
]


def tensor(x, dtype="float32"):
    return ops.cast(ops.convert_to_tensor(np.asarray(x, "float64"), dtype="float32"), dtype)


def weights(dtype="float32"):
    rng = np.random.default_rng(1)
    return [
        keras.Variable(rng.normal(size=shape).astype("float32"), dtype=dtype, name=name)
        for name, shape in (("kernel", (3, 4)), ("bias", (4,)))
    ]


def run(optimizer, steps=12, variables=None, scale=1.0):
    """Weights after steps with gradients that vary."""
    variables = weights() if variables is None else variables
    rng = np.random.default_rng(2)
    for _ in range(steps):
        gradients = [tensor(rng.normal(0.2, scale, size=v.shape)) for v in variables]
        optimizer.apply(gradients, variables)
    return values(variables)


# Against Keras, where Keras is right

SHARED = [
    {},
    {"weight_decay": 0.1},
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.7},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 5},
    {"loss_scale_factor": 4.0},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 3, "weight_decay": 0.1, "global_clipnorm": 0.4},
]


@pytest.mark.parametrize("shared", SHARED, ids=lambda shared: " ".join(shared) or "plain")
@pytest.mark.parametrize("own, theirs, form, extra", PAIRS)
def test_same_trajectory_as_keras(own, theirs, form, extra, shared):
    for arguments in ({}, extra):
        got = run(own(0.05, **form, **arguments, **shared))
        expected = run(theirs(0.05, **arguments, **shared))
        for a, b in zip(got, expected):
            # Keras' 1 − 0.999ᵗ is off by 3e-5 at t = 1, and half as much under the root.
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * 0.05 * 12)


@pytest.mark.parametrize("own, theirs, form, extra", PAIRS)
def test_same_state_as_keras(own, theirs, form, extra):
    """Under the same names and with the same values, if in another order."""
    ours, other = own(0.05, **form, **extra), theirs(0.05, **extra)
    states = []
    for optimizer in (ours, other):
        run(optimizer)
        states.append({v.path.split("/")[-1]: np.asarray(v) for v in optimizer.variables})
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        np.testing.assert_allclose(states[0][name], states[1][name], rtol=1e-5, atol=1e-7)


# Learning rates


@pytest.mark.parametrize("kind", ["schedule", "function"])
def test_learning_rate_may_be_a_schedule_or_a_function(kind):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    optimizer = optimizers.SGD(schedule if kind == "schedule" else lambda: 0.25)
    weight = keras.Variable(np.zeros(1, "float32"))
    for _ in range(3):
        optimizer.apply([tensor([1.0])], [weight])
    moved = 0.5 + 0.25 + 0.125 if kind == "schedule" else 0.75
    np.testing.assert_allclose(np.asarray(weight), [-moved], rtol=1e-6)


def test_callbacks_change_the_learning_rate():
    rates = []
    model = compiled(optimizers.Adam(0.1))
    x, y = data()
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(
            float(np.asarray(model.optimizer.learning_rate))
        )
    )
    model.fit(x, y, epochs=3, callbacks=[scheduler, note], verbose=0)
    np.testing.assert_allclose(rates, [0.05, 0.025, 0.0125], rtol=1e-6)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=100)
    model.fit(x, y, epochs=3, callbacks=[plateau], verbose=0)
    assert float(np.asarray(model.optimizer.learning_rate)) < 0.0125
    config = model.optimizer.get_config()
    assert config["learning_rate"] == pytest.approx(
        float(np.asarray(model.optimizer.learning_rate))
    )


def test_a_rate_that_was_given_comes_back_as_it_was():
    assert optimizers.Adam(0.1).get_config()["learning_rate"] == 0.1
    assert optimizers.Adam(np.float32(0.5)).get_config()["learning_rate"] == 0.5


# Weight decay


def test_decay_is_decoupled_and_comes_before_the_rule():
    weight = keras.Variable(np.ones(1, "float32"))
    optimizers.Adam(0.1, weight_decay=0.5).apply([tensor([0.0])], [weight])
    np.testing.assert_allclose(np.asarray(weight), [1 - 0.1 * 0.5], rtol=1e-6)


@pytest.mark.parametrize("by", ["var_names", "var_list"])
def test_excluded_weights_do_not_decay_also_after_a_file(by, tmp_path):
    model = network()
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    biases = [v for v in model.trainable_variables if "bias" in v.path]
    optimizer.exclude_from_weight_decay(
        **({"var_names": ["bias$"]} if by == "var_names" else {"var_list": biases})
    )
    model.compile(optimizer, losses.SparseCategoricalCrossentropy())
    model.save(tmp_path / "model.keras")
    for m in (model, keras.models.load_model(tmp_path / "model.keras")):
        m.set_weights([np.ones(v.shape) for v in m.weights])
        m.optimizer.apply([ops.zeros(v.shape) for v in m.weights], m.trainable_variables)
        decayed = [bool((np.asarray(v) < 1).all()) for v in m.weights]
        assert decayed == ["kernel" in v.path for v in m.weights]


def test_exclusion_after_build_is_an_error():
    optimizer = optimizers.SGD(weight_decay=0.1)
    optimizer.build(weights())
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])


# Accumulation and averages


def test_accumulation_is_the_step_of_the_big_batch():
    gradients = np.random.default_rng(3).normal(size=(8, 5))
    one, other = (keras.Variable(np.zeros(5, "float32")) for _ in range(2))
    small, big = optimizers.Adam(0.1, gradient_accumulation_steps=4), optimizers.Adam(0.1)
    for i, gradient in enumerate(gradients):
        small.apply([tensor(gradient)], [one])
        if i % 4 == 3:
            big.apply([tensor(gradients[i - 3 : i + 1].mean(axis=0))], [other])
        np.testing.assert_allclose(*values([one, other]), rtol=0, atol=1e-6)
    assert int(small.iterations) == 2


def test_flush_updates_from_the_gradients_that_wait():
    weight = keras.Variable(np.zeros(1, "float32"))
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=4)
    for gradient in (1.0, 1.0, 1.0, 1.0, 2.0, 4.0):
        optimizer.apply([tensor([gradient])], [weight])
    np.testing.assert_allclose(np.asarray(weight), [-1.0])
    for _ in range(2):  # the second time nothing waits
        optimizer.flush_accumulated_gradients()
        np.testing.assert_allclose(np.asarray(weight), [-4.0])
    assert int(optimizer.iterations) == 2
    for _ in range(4):
        optimizer.apply([tensor([1.0])], [weight])
    np.testing.assert_allclose(np.asarray(weight), [-5.0])


def test_averages_and_overwriting_count_updates_and_not_calls():
    optimizer = optimizers.SGD(
        1.0,
        gradient_accumulation_steps=2,
        use_ema=True,
        ema_momentum=0.5,
        ema_overwrite_frequency=2,
    )
    weight = keras.Variable(np.zeros(1, "float32"))
    path = []
    for _ in range(4):
        optimizer.apply([tensor([1.0])], [weight])
        path.append(float(np.asarray(weight)[0]))
    # Updates to −1 (average −1) and −2 (average −1.5, which the weight is set to).
    np.testing.assert_allclose(path, [0, -1, -1, -1.5])


def test_fit_twice_with_averages():
    model = compiled(optimizers.SGD(0.1, use_ema=True))
    first, second = train(model, 2), train(model, 2)
    assert np.isfinite([*first, *second]).all() and second[-1] < first[0]
    averages = [v for v in model.optimizer.variables if "average" in v.name]
    assert_same(values(model.trainable_variables), values(averages))


def test_swap_ema_weights_callback():
    model = compiled(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    x, y = data()
    callback = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    losses_seen = model.fit(x, y, validation_data=(x, y), epochs=2, callbacks=[callback], verbose=0)
    assert np.isfinite(losses_seen.history["val_loss"]).all()


# Half precision


def test_small_updates_add_up_in_bfloat16():
    weight = keras.Variable(np.ones(1, "float32"), dtype="bfloat16")
    optimizer = optimizers.SGD(1e-3)
    for _ in range(20):
        optimizer.apply([tensor([1.0], "bfloat16")], [weight])
    # 0.98 rounded to 8 bits
    np.testing.assert_allclose(values([weight])[0], [0.98], atol=2**-9)


def test_zero_gradient_in_float16_changes_nothing():
    for optimizer in (optimizers.Adam(), optimizers.RMSprop(), optimizers.Adagrad()):
        weight = keras.Variable(np.ones(1, "float32"), dtype="float16")
        optimizer.apply([tensor([0.0], "float16")], [weight])
        assert values([weight])[0] == [1.0]


def test_second_moment_and_average_in_bfloat16_are_those_of_float32():
    optimizer = optimizers.Adam(0.0, use_ema=True, ema_momentum=0.999)
    weight = keras.Variable(np.zeros(1, "float32"), dtype="bfloat16")
    for step in range(1000):  # in bfloat16 both would stand still at 0.25
        if step == 1:
            weight.assign(np.ones(1))
        optimizer.apply([tensor([1.0], "bfloat16")], [weight])
    (velocity,) = (v for v in optimizer.variables if "velocity" in v.name)
    assert values([velocity])[0] == pytest.approx(1 - 0.999**1000, rel=1e-4)
    (average,) = (v for v in optimizer.variables if "average" in v.name)
    assert values([average])[0] == pytest.approx(1 - 0.999**999, rel=1e-4)


def test_a_value_assigned_to_a_half_weight_wins_over_its_copy():
    weight = keras.Variable(np.ones(2, "float32"), dtype="bfloat16")
    optimizer = optimizers.SGD(1e-3)
    for _ in range(3):
        optimizer.apply([tensor([1.0, 1.0], "bfloat16")], [weight])
    weight.assign(np.array([5.0, values([weight])[0][1]]))
    optimizer.apply([tensor([0.0, 0.0], "bfloat16")], [weight])
    copy = next(v for v in optimizer.variables if "float32_copy" in v.name)
    np.testing.assert_allclose(values([copy])[0], [5.0, 0.997], rtol=1e-6)


# Constraints and weights that are overwritten


def test_constraint_is_applied_last():
    weight = keras.Variable(np.ones(2, "float32"))
    weight.constraint = keras.constraints.NonNeg()
    optimizers.SGD(1.0).apply([tensor([0.25, 3.0])], [weight])
    np.testing.assert_array_equal(np.asarray(weight), [0.75, 0.0])


def test_overwrite_with_gradient():
    weight, scale = keras.Variable(np.ones(1, "float32")), keras.Variable(np.ones(1, "float32"))
    scale.overwrite_with_gradient = True
    optimizer = optimizers.Adam(0.1, weight_decay=0.1, use_ema=True)
    optimizer.apply([tensor([1.0]), tensor([7.0])], [weight, scale])
    assert values([scale])[0] == [7.0] and values([weight])[0] < 1


# What is wrong is an error, and changes nothing


@pytest.mark.parametrize(
    "gradients, message",
    [
        ([np.ones((1,)), np.ones(4)], r"\(1,\).*kernel.*\(3, 4\)"),
        ([np.ones(()), np.ones(4)], r"\(\).*kernel"),
        ([np.ones((3, 4))], "1 gradients for 2 weights"),
        ([np.ones((3, 4)), np.ones(4), np.ones(4)], "3 gradients for 2 weights"),
        ([None, None], "no gradient for any weight"),
    ],
)
def test_gradients_that_do_not_fit_the_weights(gradients, message):
    optimizer, given = optimizers.SGD(0.1), weights()
    before = values(given)
    with pytest.raises(ValueError, match=message):
        optimizer.apply([g if g is None else tensor(g) for g in gradients], given)
    assert_same(before, values(given))


def test_a_missing_gradient_leaves_its_weight_and_warns():
    optimizer, given = optimizers.Adam(0.1), weights()
    before = values(given)
    with pytest.warns(UserWarning, match="no gradient for .*bias"):
        optimizer.apply([tensor(np.ones((3, 4))), None], given)
    after = values(given)
    assert (after[0] != before[0]).all() and (after[1] == before[1]).all()


def test_other_weights_are_an_error():
    optimizer = optimizers.SGD(0.1)
    run(optimizer, steps=1)
    with pytest.raises(ValueError, match="Make a new optimizer"):
        optimizer.apply([tensor(np.ones(4))], [keras.Variable(np.ones(4, "float32"))])
    with pytest.raises(ValueError, match="cannot be built again"):
        optimizer.build(weights())


def test_apply_without_weights_before_build():
    with pytest.raises(ValueError, match="needs the weights"):
        optimizers.SGD().apply([tensor([1.0])])


def test_a_subclass_without_a_rule():
    class Empty(optimizers.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no formula"):
        Empty().apply([tensor([1.0])], [keras.Variable(np.ones(1, "float32"))])


# State from files


@pytest.mark.parametrize("built", [False, True])
def test_state_of_another_optimizer_is_an_error(built, tmp_path):
    saved = compiled(optimizers.Adam())
    train(saved)
    saved.save_weights(tmp_path / "adam.weights.h5")
    model = compiled(optimizers.RMSprop())
    if built:
        model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="not that of this RMSprop.*momentum, velocity"):
        model.load_weights(tmp_path / "adam.weights.h5")
        train(model)


def built(optimizer):
    model = compiled(optimizer)
    optimizer.build(model.trainable_variables)
    return model


@every_optimizer
def test_state_of_any_other_class_is_an_error_and_changes_none(cls, tmp_path):
    built(cls()).save_weights(tmp_path / "state.weights.h5")
    for other in OPTIMIZERS:
        for model in () if other is cls else (built(other()), compiled(other())):
            before = values(model.optimizer.variables)
            with pytest.raises(ValueError, match=f"this {other.__name__}.*>{cls.__name__} and"):
                model.load_weights(tmp_path / "state.weights.h5")
            assert_same(before, values(model.optimizer.variables))


def test_a_file_from_before_the_first_step_takes_the_place_of_no_state(tmp_path):
    compiled(optimizers.Adam()).save_weights(tmp_path / "empty.weights.h5")
    model = built(optimizers.Adam())
    model.load_weights(tmp_path / "empty.weights.h5")
    train(model)
    before = values(model.optimizer.variables)
    with pytest.raises(ValueError, match="holds 0 entries"):
        model.load_weights(tmp_path / "empty.weights.h5")
    assert_same(before, values(model.optimizer.variables))


def test_a_file_that_is_cut_short_changes_nothing(tmp_path):
    path = tmp_path / "state.weights.h5"
    model = built(optimizers.Adam())
    model.save_weights(path)
    content = path.read_bytes()
    train(model)
    before = state(model)
    for length in range(0, len(content), len(content) // 7):
        path.write_bytes(content[:length])
        with pytest.raises(OSError, match="truncated|signature"):
            model.load_weights(path)
        assert_same(before, state(model))


def test_state_of_keras_is_an_error_that_says_what_to_do(tmp_path):
    saved = compiled(keras.optimizers.Adam())
    train(saved)
    saved.save_weights(tmp_path / "keras.weights.h5")
    with pytest.raises(ValueError, match="Compile after loading"):
        compiled(optimizers.Adam()).load_weights(tmp_path / "keras.weights.h5")


def test_set_weights_takes_all_or_nothing():
    optimizer = optimizers.Adam()
    with pytest.raises(ValueError, match="build"):
        optimizer.set_weights([])
    run(optimizer)
    state = [np.asarray(v) for v in optimizer.variables]
    for wrong in (state[:-1], [*state[:-1], np.zeros(7)]):
        with pytest.raises(ValueError, match="must be 6 arrays"):
            optimizer.set_weights(wrong)
    assert_same(values(optimizer.variables), [np.asarray(s, "float64") for s in state])


@pytest.mark.parametrize("changed", ["rule", "scalars"])
def test_a_subclass_that_changes_the_rule_alone_is_followed(changed):
    """Where the base class has a kernel of the backend for its rule."""

    class Faster(optimizers.Adam):
        pass

    def rule(self, step, weight, gradient, *slots):
        new, *slots = optimizers.Adam.rule(self, step, weight, gradient, *slots)
        return weight + 2 * (new - weight), *slots

    def scalars(self, step):
        values = optimizers.Adam.scalars(self, step)
        return values | {"rate": 2 * values["rate"]}

    setattr(Faster, changed, {"rule": rule, "scalars": scalars}[changed])
    weight = keras.Variable(np.zeros(2, "float32"))
    Faster(0.25).apply([keras.ops.ones(2)], [weight])
    np.testing.assert_allclose(np.asarray(weight), -0.5, rtol=1e-5)


def test_gradients_are_checked_in_every_step():
    """On PyTorch the later ones at a look."""
    optimizer, variables = optimizers.SGD(0.5), weights()
    good = [ops.ones(v.shape) for v in variables]
    for _ in range(3):
        optimizer.apply(good, variables)
    before = values(variables)
    for wrong in (ops.ones((4, 3)), ops.ones((1, 4)), [[1.0] * 4] * 2, "text", ops.ones((3,))):
        with pytest.raises(ValueError, match=r"[Gg]radient.*kernel"):
            optimizer.apply([wrong, good[1]], variables)
    with pytest.raises(ValueError, match="one gradient for each weight"):
        optimizer.apply(good[:1], variables)
    with pytest.raises(ValueError, match="more than once"):
        optimizer.apply(good, [variables[0]] * 2)
    assert_same(values(variables), before)
    # Lists and half-precision tensors are gradients too, and None leaves a weight alone.
    optimizer.apply([np.ones((3, 4)).tolist(), tensor(np.ones(4), "float16")], variables)
    with pytest.warns(UserWarning, match="no gradient"):
        optimizer.apply([good[0], None], variables)
    for new, old, steps in zip(values(variables), before, (2, 1)):
        # As many roundings, of numbers below 4.
        np.testing.assert_allclose(new, old - 0.5 * steps, rtol=0, atol=steps * 2.0**-23)


# JAX has float64 only where it is told so when it starts.
@pytest.mark.parametrize(
    "dtype", ["float32", *([] if keras.backend.backend() == "jax" else ["float64"])]
)
@pytest.mark.parametrize("schedule", [False, True])
def test_a_rule_is_given_scalar_tensors_of_its_type(schedule, dtype):
    """Also on PyTorch, where the kernels are given numbers of Python's."""
    seen = []

    class Watched(optimizers.Optimizer):
        def scalars(self, step):
            seen.extend([step.learning_rate, step.t])
            return {"double": 2 * step.learning_rate}

        def rule(self, step, weight, gradient):
            seen.extend([step.learning_rate, step.t, step["double"]])
            return weight - step["double"] * gradient

    rate = keras.optimizers.schedules.ExponentialDecay(0.25, 1, 0.5) if schedule else 0.25
    optimizer = Watched(rate)
    weight = keras.Variable(np.ones(2), dtype=dtype)
    optimizer.apply([tensor([1, 1], dtype)], [weight])
    assert len(seen) == 5
    for scalar in seen:
        assert ops.is_tensor(scalar) and tuple(scalar.shape) == ()
        assert keras.backend.standardize_dtype(scalar.dtype) == dtype
    np.testing.assert_array_equal(np.asarray(weight), 0.5)
