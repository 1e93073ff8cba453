"""The worked examples and the identities between neighbours that the teaching text states."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import optimizers
from keras_optim_losses.optimizers.step import Step
from tests.models import values


def after(optimizer, gradients, start=0.0):
    """A weight after each gradient."""
    weight = keras.Variable(np.full(np.shape(gradients[0]) or (1,), start, "float32"))
    path = []
    for gradient in gradients:
        gradient = np.broadcast_to(gradient, weight.shape)
        optimizer.apply([ops.convert_to_tensor(gradient, dtype="float32")], [weight])
        path.append(values([weight])[0])
    return np.array(path)


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, "float32"))


def varied(steps=30, entries=4, seed=5):
    return np.random.default_rng(seed).normal(size=(steps, entries))


def test_momentum_adds_nine_tenths_of_the_last_step():
    # The first step changes the weight by 0.5; alone, the second would change it by 0.3.
    path = after(optimizers.Momentum(learning_rate=1.0, momentum=0.9), [-0.5, -0.3])[:, 0]
    np.testing.assert_allclose(path, [0.5, 0.5 + 0.75], rtol=1e-6)


def test_averaging_counts_the_past_nine_tenths_and_this_batch_one_tenth():
    step = Step(1.0, 1.0)
    optimizer = optimizers.Momentum(1.0, momentum=0.9, averaging=True)
    weight, first = optimizer.rule(step, tensor([0]), tensor([4]), tensor([0]))
    assert float(first[0]) == pytest.approx(0.4)  # biased to zero at first: m₁ = 0.1 g₁
    _, second = optimizer.rule(step, weight, tensor([2]), first)
    assert float(second[0]) == pytest.approx(0.9 * 0.4 + 0.1 * 2.0)


def test_first_step_of_adam_is_the_learning_rate_whatever_the_scale():
    gradients = np.array([1e-3, -1e-1, 10.0, -1e4, 0.0])
    path = after(optimizers.Adam(learning_rate=0.1), [gradients])[0]
    np.testing.assert_allclose(path, -0.1 * np.sign(gradients), rtol=2e-4)  # ε / |g|


def test_rmsprop_never_exceeds_the_largest_squared_gradient():
    for rho in (0.1, 0.9, 0.99):
        optimizer = optimizers.RMSprop(rho=rho)
        weight, largest = keras.Variable(np.zeros(4, "float32")), np.zeros(4)
        for gradient in varied():
            optimizer.apply([tensor(gradient)], [weight])
            largest = np.maximum(largest, gradient**2)
            h = values(optimizer.variables)[2]
            assert (h <= largest * (1 + 1e-6)).all() and (h > 0).all()


def test_a_smaller_rho_counts_the_newest_gradient_more():
    shares = []
    for rho in (0.9, 0.5, 0.1):
        _, h = optimizers.RMSprop(rho=rho).rule(Step(1.0, 1.0), *(tensor([x]) for x in (0, 3, 0)))
        shares.append(float(h[0]) / 9)
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], rtol=1e-6)


def test_steps_of_adagrad_shrink_and_those_of_rmsprop_do_not():
    ones = np.ones((200, 1))
    adagrad = np.abs(np.diff(after(optimizers.Adagrad(0.1), ones)[:, 0]))
    rmsprop = np.abs(np.diff(after(optimizers.RMSprop(0.1), ones)[:, 0]))
    assert (np.diff(adagrad) < 0).all() and adagrad[-1] < 0.1 / np.sqrt(199)
    np.testing.assert_allclose(rmsprop[-1], 0.1, rtol=1e-4)


def test_gradient_descent_looks_at_all_the_data_before_one_update():
    gradients = varied(steps=6)
    path = after(optimizers.GradientDescent(0.5, batches_per_update=6), gradients)
    np.testing.assert_array_equal(path[:-1], 0)
    np.testing.assert_allclose(path[-1], -0.5 * gradients.mean(axis=0), rtol=1e-5, atol=1e-7)
    assert (after(optimizers.SGD(0.5), gradients)[0] != 0).all()


@pytest.mark.parametrize(
    "one, other",
    [
        (optimizers.Momentum(0.1, momentum=0.0), optimizers.SGD(0.1)),
        (optimizers.Momentum(0.1, momentum=0.0, averaging=True), optimizers.SGD(0.1)),
        (optimizers.GradientDescent(0.1), optimizers.SGD(0.1)),
        (optimizers.SGD(0.1, momentum=0.9), optimizers.Momentum(0.1, momentum=0.9)),
    ],
    ids=["Momentum(0)", "averaging(0)", "GD(1 batch)", "SGD with momentum"],
)
def test_identities_that_hold_exactly(one, other):
    one, other = (cls.from_config(cls.get_config()) for cls in (one, other))
    path, expected = after(one, varied()), after(other, varied())
    # Where a compiler fuses a product with a sum it rounds once and not twice: half a unit a step.
    room = len(path) * 2.0**-24 * np.abs(expected).max()
    np.testing.assert_allclose(path, expected, rtol=0, atol=room)


def test_rmsprop_with_sums_for_averages_is_adagrad():
    # h/(1 − ρ) of RMSProp sums ρ-discounted squares; with ρ → 1 it sums them all.
    rho = 1 - 2.0**-40
    rms = optimizers.RMSprop(0.1, rho=rho, epsilon=0.0)
    ada = optimizers.Adagrad(0.1, initial_accumulator_value=0.0, epsilon=0.0)
    h = total = one = other = tensor(np.zeros(4))
    for gradient in map(tensor, varied()):
        # The step is divided by √((1 − ρ)Σg²), so the rate is √(1 − ρ) as large.
        one, h = rms.rule(Step(0.1 * np.sqrt(1 - rho), 1.0), one, gradient, h)
        other, total = ada.rule(Step(0.1, 1.0), other, gradient, total)
    np.testing.assert_allclose(*values([one, other]), rtol=2e-6)


class Uncorrected(Step):
    def bias_correction(self, beta):
        return 1.0


def test_adam_without_momentum_and_correction_is_rmsprop():
    adam = optimizers.Adam(beta_1=0.0, beta_2=0.9, epsilon=0.0)
    rms = optimizers.RMSprop(rho=0.9, epsilon=0.0)
    m = v = h = one = other = tensor(np.zeros(4))
    step = Uncorrected(0.1, 1.0)
    step = Step(**step.values, **adam.scalars(step))
    for gradient in map(tensor, varied()):
        one, m, v = adam.rule(step, one, gradient, m, v)
        other, h = rms.rule(Step(0.1, 1.0), other, gradient, h)
    np.testing.assert_allclose(*values([one, other]), rtol=1e-5)


def test_adam_with_its_divisor_held_at_one_is_the_averaging_momentum_unbiased():
    # With ε = 1 and gradients of 1e-6, √v̂ + ε is 1 up to 1e-6.
    gradients = varied() * 1e-6
    path = after(optimizers.Adam(1.0, beta_1=0.9, epsilon=1.0), gradients)
    m, w, expected = np.zeros(4), np.zeros(4), []
    for t, gradient in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * gradient
        w = w - m / (1 - 0.9**t)
        expected.append(w)
    np.testing.assert_allclose(path, expected, rtol=1e-5, atol=1e-11)
