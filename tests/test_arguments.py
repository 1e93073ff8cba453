"""Hyperparameters are checked when they are given."""

import numpy as np
import pytest

from keras_optim_losses import losses, optimizers

NAN, INF = float("nan"), float("inf")
EVERY = [
    getattr(optimizers, name) for name in optimizers.__all__ if name not in ("Optimizer", "get")
]

# Arguments with their range, and values that are not in it.
SHARED = [
    ("learning_rate", "[0, inf)", [-1, NAN, "fast", None, True, [0.1]]),
    ("weight_decay", "[0, inf)", [-1, NAN, "x"]),
    ("clipnorm", "(0, inf)", [0, -1, NAN]),
    ("clipvalue", "(0, inf)", [0, -1, NAN]),
    ("global_clipnorm", "(0, inf)", [0, -1, NAN]),
    ("ema_momentum", "[0, 1]", [-0.1, 1.1, NAN]),
    ("ema_overwrite_frequency", "whole number, 1 or more", [0, -1, 2.5, "x", True]),
    ("loss_scale_factor", "(0, inf)", [0, -2, NAN]),
    ("gradient_accumulation_steps", "whole number, 1 or more", [0, -1, 2.5, "x"]),
    ("use_ema", "True or False", ["yes", 1, None]),
]
BETA = ("[0, 1)", [-0.1, 1, 1.5, 2, NAN, "x", None, True])
EPSILON = ("[0, inf)", [-1, NAN, INF, "x", None])
FLAG = ("True or False", ["no", 0, None])
OWN = [
    (optimizers.SGD, "momentum", *BETA),
    (optimizers.SGD, "nesterov", *FLAG),
    (optimizers.Momentum, "momentum", *BETA),
    (optimizers.Momentum, "averaging", *FLAG),
    (optimizers.Adagrad, "initial_accumulator_value", *EPSILON),
    (optimizers.Adagrad, "epsilon", *EPSILON),
    (optimizers.RMSprop, "rho", *BETA),
    (optimizers.RMSprop, "momentum", *BETA),
    (optimizers.RMSprop, "epsilon", *EPSILON),
    (optimizers.RMSprop, "centered", *FLAG),
    (optimizers.Adam, "beta_1", *BETA),
    (optimizers.Adam, "beta_2", *BETA),
    (optimizers.Adam, "epsilon", *EPSILON),
    (optimizers.Adam, "amsgrad", *FLAG),
    (
        optimizers.GradientDescent,
        "batches_per_update",
        "whole number, 1 or more",
        [0, 2.5, "x", None],
    ),
]
SMOOTHING = ("label_smoothing", "[0, 1]", [-0.1, 1.5, NAN, "x", None])
CROSSENTROPIES = [
    losses.BinaryCrossentropy,
    losses.CategoricalCrossentropy,
    losses.SparseCategoricalCrossentropy,
]
OF_LOSSES = [
    *((cls, *SMOOTHING) for cls in CROSSENTROPIES),
    *((cls, "from_logits", *FLAG) for cls in CROSSENTROPIES),
    *((cls, "axis", "whole number", [1.5, "x", None]) for cls in CROSSENTROPIES),
    (losses.BinaryCrossentropy, "pos_weight", "[0, inf)", [-1, NAN, "x", [1, -1]]),
    (losses.CategoricalCrossentropy, "class_weight", "[0, inf)", [2.0, "x", [1, -1], {0: 1}]),
    (losses.SparseCategoricalCrossentropy, "class_weight", "[0, inf)", [2.0, [1, NAN]]),
    (losses.SparseCategoricalCrossentropy, "ignore_class", "whole number", [1.5, "x", True]),
]


@pytest.mark.parametrize(
    "cls, name, interval, wrong", [*((c, *s) for c in EVERY for s in SHARED), *OWN, *OF_LOSSES]
)
def test_what_is_out_of_range_is_named(cls, name, interval, wrong):
    for value in wrong:
        with pytest.raises(ValueError) as error:
            cls(**{name: value})
        entry = value if not isinstance(value, list) or name == "learning_rate" else value[-1]
        for part in (f"`{name}", interval, repr(entry)):
            assert part in str(error.value)


@pytest.mark.parametrize("number", [1, np.float32(1), np.int64(1), np.array(1.0)])
def test_whole_numbers_and_numpy_scalars_are_numbers(number):
    optimizer = optimizers.Adam(learning_rate=number, epsilon=number, clipnorm=number)
    assert optimizer.get_config()["epsilon"] == 1.0 == optimizer.get_config()["learning_rate"]
    assert optimizers.SGD(momentum=0, learning_rate=1).momentum == 0.0
    assert optimizers.GradientDescent(batches_per_update=np.int64(3)).batches_per_update == 3
    assert optimizers.SGD(gradient_accumulation_steps=2.0).gradient_accumulation_steps == 2
    assert losses.BinaryCrossentropy(label_smoothing=number).label_smoothing == 1.0
    assert losses.BinaryCrossentropy(pos_weight=np.array([1, 2])).pos_weight == [1.0, 2.0]


def test_learning_rate_is_checked_when_it_is_set():
    optimizer = optimizers.Adam()
    for wrong in (-1, NAN, "x"):
        with pytest.raises(ValueError, match="learning_rate"):
            optimizer.learning_rate = wrong
    optimizer.learning_rate = 1
    assert optimizer.get_config()["learning_rate"] == 1.0


@pytest.mark.parametrize("cls", EVERY)
def test_unknown_arguments_list_the_known_ones(cls):
    with pytest.raises(ValueError, match="'lr'.*learning_rate.*clipnorm"):
        cls(lr=0.1)


def test_two_names_for_the_batches_of_gradient_descent():
    for arguments in ({"batches_per_update": 4}, {"gradient_accumulation_steps": 4}):
        optimizer = optimizers.GradientDescent(**arguments)
        assert optimizer.batches_per_update == optimizer.gradient_accumulation_steps == 4
    with pytest.raises(ValueError, match="same thing"):
        optimizers.GradientDescent(batches_per_update=4, gradient_accumulation_steps=2)


def test_two_clippings_are_an_error():
    with pytest.raises(ValueError, match="clip"):
        optimizers.SGD(clipnorm=1.0, clipvalue=1.0)


def test_an_unknown_reduction_is_an_error():
    with pytest.raises(ValueError, match="reduction"):
        losses.MeanSquaredError(reduction="average")
