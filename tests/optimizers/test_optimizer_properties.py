"""What holds for every optimizer, whatever its arguments, types, weights and gradients are."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from keras import ops

from keras_optim_losses import optimizers
from keras_optim_losses.optimizers.step import Step
from tests.optimizers.trajectories import CASES
from tests.properties import examples

BACKEND = keras.backend.backend()
# JAX has float64 only where it is told so when it starts.
DTYPES = ["bfloat16", "float16", "float32", *([] if BACKEND == "jax" else ["float64"])]
UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
SHARED = [
    {},
    {"weight_decay": 0.25},
    {"clipvalue": 0.5},
    {"global_clipnorm": 1.0},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    {"weight_decay": 0.25, "loss_scale_factor": 4.0, "global_clipnorm": 1.0},
]
STEPS = 4

# A class with its arguments, arguments of the base, and the weights' type.
optimizer_cases = st.tuples(
    st.sampled_from([(name, tuple(arguments.items())) for name, arguments, _ in CASES]),
    st.sampled_from([tuple(shared.items()) for shared in SHARED]),
    st.sampled_from(DTYPES),
)
seeds = st.integers(0, 2**32 - 1)


def numbers(seed, *shape):
    """Numbers of few bits, so that they and their sums are the same in every type; some are 0."""
    rng = np.random.default_rng(seed)
    x = np.clip(rng.normal(size=shape) * 2.0 ** rng.integers(-1, 3, shape), -7, 7)
    return np.where(rng.random(shape) < 0.15, 0, np.round(x * 4) / 4)


def tensor(x, dtype="float32"):
    return ops.cast(ops.convert_to_tensor(np.asarray(x, "float32")), dtype)


def numpy(x):
    wide = keras.backend.standardize_dtype(x.dtype) == "float64"
    return np.array(ops.convert_to_numpy(x if wide else ops.cast(x, "float32")), "float64")


@functools.cache
def built(case, shapes, accumulate):
    """An optimizer of some weights, made and compiled once, with its state at the start."""
    (name, arguments), shared, dtype = case
    given = {**dict(arguments), **dict(shared)}
    if accumulate:
        given["gradient_accumulation_steps"] = accumulate
    weights = [keras.Variable(np.zeros(shape), dtype=dtype) for shape in shapes]
    optimizer = getattr(optimizers, name)(0.125, **given)
    optimizer.build(weights)
    return optimizer, weights, [np.array(ops.convert_to_numpy(v)) for v in optimizer.variables]


def run(case, starts, gradients, accumulate=None):
    """The path of each weight.

    Args:
        case: of `optimizer_cases`.
        starts: a value for each weight.
        gradients: for each call one for each weight: an array, or a tensor as `apply` takes it.
        accumulate: over how many calls.
    """
    optimizer, weights, state = built(case, tuple(map(np.shape, starts)), accumulate)
    optimizer.set_weights(state)
    for weight, start in zip(weights, starts):
        weight.assign(tensor(start, case[2]))
    path = []
    for call in gradients:
        arrays = [isinstance(g, np.ndarray) for g in call]
        optimizer.apply([tensor(g, case[2]) if a else g for g, a in zip(call, arrays)], weights)
        path.append([numpy(weight) for weight in weights])
    return [np.array(steps) for steps in zip(*path)]


def assert_same(case, one, other, exactly=False):
    """The same path, but for how sums are ordered and how a compiler fuses them with products.

    That is some units in the last place of the largest number that occurs, weight or step. What is
    rounded to half a type in the end may come out on the other side.
    """
    if exactly and "global_clipnorm" not in dict(case[1]):
        np.testing.assert_array_equal(one, other)
        return
    computing = UNITS["float64" if case[2] == "float64" else "float32"]
    half = 2 * UNITS[case[2]] if case[2] in ("float16", "bfloat16") else 0
    room = 64 * computing * (np.abs(other).max() + 1) + half * np.abs(other)
    assert np.isfinite(one).all() and (np.abs(one - other) <= room).all()


@examples(20)
@given(optimizer_cases, seeds, st.permutations(range(6)))
def test_entries_may_be_permuted(case, seed, order):
    start, *gradients = numbers(seed, 1 + STEPS, 6)
    [path] = run(case, [start], [[g] for g in gradients])
    [permuted] = run(case, [start[order]], [[g[order]] for g in gradients])
    assert_same(case, permuted, path[:, order], exactly=True)


@examples(20)
@given(optimizer_cases, seeds)
def test_up_and_down_are_alike(case, seed):
    start, *gradients = numbers(seed, 1 + STEPS, 6)
    [path] = run(case, [start], [[g] for g in gradients])
    [mirrored] = run(case, [-start], [[-g] for g in gradients])
    assert_same(case, mirrored, -path, exactly=True)


@examples(12)
@given(optimizer_cases, seeds)
def test_weights_may_come_in_any_order(case, seed):
    first, second = numbers(seed, 1 + STEPS, 6), numbers(seed + 1, 1 + STEPS, 2, 3)
    one = run(case, [first[0], second[0]], [*zip(first[1:], second[1:])])
    other = run(case, [second[0], first[0]], [*zip(second[1:], first[1:])])
    for a, b in zip(one, other[::-1]):
        assert_same(case, a, b)


@examples(12)
@given(optimizer_cases, seeds)
def test_a_weight_may_be_split_in_two(case, seed):
    start, *gradients = numbers(seed, 1 + STEPS, 6)
    [whole] = run(case, [start], [[g] for g in gradients])
    parts = run(case, [start[:2], start[2:]], [[g[:2], g[2:]] for g in gradients])
    assert_same(case, np.concatenate(parts, axis=-1), whole)


@examples(12)
@given(optimizer_cases, seeds)
def test_two_calls_that_accumulate_are_one_of_their_mean(case, seed):
    assume(case[0][0] != "GradientDescent")  # which accumulates by itself
    start, *gradients = numbers(seed, 1 + 2 * STEPS, 6)
    [path] = run(case, [start], [[g] for g in gradients], accumulate=2)
    means = [(a + b) / 2 for a, b in zip(gradients[::2], gradients[1::2])]
    [expected] = run(case, [start], [[g] for g in means])
    assert_same(case, path[1::2], expected)
    # In between the weights rest.
    np.testing.assert_array_equal(path[2::2], path[1:-1:2])
    np.testing.assert_array_equal(path[0], np.array(start, path.dtype))


def by_rows(values, ids, shape, dtype):
    """The gradient of an embedding."""
    values = tensor(values, dtype)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.IndexedSlices(values, tf.constant(ids), shape)
    import torch

    ids = torch.tensor(ids, device=values.device)[None]
    return torch.sparse_coo_tensor(ids, values, shape, check_invariants=True)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no gradients by rows")
@examples(20)
@given(optimizer_cases, seeds, st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_gradients_by_rows_are_those_of_the_whole(case, seed, ids):
    table, *values = numbers(seed, 5, 2), *numbers(seed + 1, STEPS, 4, 2)
    dense = np.zeros((STEPS, 5, 2))
    for step in range(STEPS):
        np.add.at(dense[step], ids, values[step])
    sparse = [[by_rows(v, ids, table.shape, case[2])] for v in values]
    [path] = run(case, [table], sparse)
    [expected] = run(case, [table], [[g] for g in dense])
    assert_same(case, path, expected)


# Of the rules themselves, with any hyperparameters

shares = st.floats(0, 0.999)


def by_rule(optimizer, gradients, rate=0.125):
    """All states that the rule goes through: of the weight, from 0, and of its slots."""
    slots = optimizer.slots
    start = slots.values() if isinstance(slots, dict) else [0] * len(slots)
    state = [tensor(np.full(gradients[0].shape, value)) for value in (0, *start)]
    path = []
    for t, gradient in enumerate(gradients, start=1):
        step = Step(tensor(rate), tensor(t))
        step = Step(**step.values, **optimizer.scalars(step))
        result = optimizer.rule(step, state[0], tensor(gradient), *state[1:])
        state = list(result) if slots else [result]
        path.append([numpy(x) for x in state])
    return np.array(path)


@examples(40)
@given(shares, st.booleans(), seeds)
def test_rmsprop_never_exceeds_the_largest_squared_gradient(rho, centered, seed):
    rng = np.random.default_rng(seed)
    gradients = (rng.normal(size=(20, 6)) * 2.0 ** rng.integers(-30, 30, 6)).astype("float32")
    path = by_rule(optimizers.RMSprop(rho=rho, centered=centered), gradients)
    h, largest = path[:, 1], np.maximum.accumulate(gradients.astype("float64") ** 2)
    # g², ρh, (1 − ρ)g² and their sum are rounded, and ρ and 1 − ρ: six units an update.
    assert (h >= 0).all() and (h <= largest * (1 + 20 * 6 * 2.0**-24)).all()


@st.composite
def scale_free(draw):
    """An optimizer whose steps do not depend on the scale of gradients."""
    rest = {"epsilon": 0.0}
    which = draw(st.sampled_from(["Adagrad", "RMSprop", "Adam"]))
    if which == "Adagrad":
        return optimizers.Adagrad(initial_accumulator_value=0.0, **rest)
    if which == "RMSprop":
        return optimizers.RMSprop(rho=draw(shares), momentum=draw(shares), **rest)
    kind = {"amsgrad": draw(st.booleans()), "epsilon_hat": draw(st.booleans())}
    return optimizers.Adam(beta_1=draw(shares), beta_2=draw(shares), **kind, **rest)


@examples(40)
@given(scale_free(), st.integers(-20, 20), seeds)
def test_steps_do_not_depend_on_the_scale_of_gradients(optimizer, power, seed):
    gradients = np.random.default_rng(seed).normal(size=(STEPS, 6)).astype("float32")
    path, scaled = by_rule(optimizer, gradients), by_rule(optimizer, gradients * 2.0**power)
    np.testing.assert_array_equal(scaled[:, 0], path[:, 0])
    assert np.isfinite(path).all() and (path[:, 0] != 0).any()


@st.composite
def linear(draw):
    """An optimizer whose steps are in proportion to gradients."""
    kind = {"momentum": draw(shares), "nesterov": draw(st.booleans())}
    which = draw(st.sampled_from(["GradientDescent", "SGD", "Momentum"]))
    if which == "GradientDescent":
        return optimizers.GradientDescent()
    if which == "SGD":
        return optimizers.SGD(**kind)
    return optimizers.Momentum(**kind, averaging=draw(st.booleans()))


@examples(40)
@given(linear(), st.integers(-20, 20), seeds)
def test_the_scale_of_gradients_is_that_of_the_rate(optimizer, power, seed):
    gradients = np.random.default_rng(seed).normal(size=(STEPS, 6)).astype("float32")
    scaled = by_rule(optimizer, gradients * 2.0**power)
    faster = by_rule(optimizer, gradients, rate=0.125 * 2.0**power)
    np.testing.assert_array_equal(scaled[:, 0], faster[:, 0])
    # And in proportion to both: w of a gradient c times as large is c times as large.
    path = by_rule(optimizer, gradients)
    np.testing.assert_array_equal(scaled[:, 0], path[:, 0] * 2.0**power)
