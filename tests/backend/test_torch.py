"""What only PyTorch has: torch.compile, kernels in place, weights laid end to end."""

import keras
import numpy as np
import pytest
import torch

from keras_optim_losses import losses, optimizers
from keras_optim_losses.backend import torch as backend
from tests.models import assert_same, compiled, train, values
from tests.optimizers.trajectories import CASES
from tests.test_contract import every_optimizer, own_arguments

#: Where Keras has its tensors: on a GPU, if there is one.
DEVICE = keras.ops.zeros(()).device


def tensor(x, dtype=None):
    return torch.tensor(x, dtype=dtype, device=DEVICE)


@every_optimizer
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_end_to_end_give_what_single_weights_give(cls, dtype, monkeypatch):
    results = []
    for small in (0, 10):  # none joined; all but the largest joined
        monkeypatch.setattr(backend, "SMALL", small)
        rng = np.random.default_rng(0)
        weights = [
            keras.Variable(rng.normal(size=shape).astype("float32"), dtype=dtype)
            for shape in ((2, 3), (4,), (), (5, 5))
        ]
        optimizer = cls(**own_arguments(cls), clipvalue=1.0)  # which keeps it from being in place
        for _ in range(5):
            optimizer.apply([tensor(rng.normal(size=tuple(w.shape))) for w in weights], weights)
        results.append(values([*weights, *optimizer.variables]))
    # Vector and scalar code of the same operation may differ by a rounding.
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def uneven(rng, shape):
    """Some numbers whose rows lie apart in memory, as in a transposed matrix."""
    return tensor(rng.normal(size=shape[::-1]).astype("float32")).T


@pytest.mark.parametrize("make", [uneven, lambda *given: uneven(*given).contiguous()])
@pytest.mark.parametrize(
    "shared", [{}, {"weight_decay": 0.1}, {"clipnorm": 0.5}, {"use_ema": True, "ema_momentum": 0.5}]
)
@pytest.mark.parametrize("name, arguments, reference", CASES)
def test_in_place_comes_what_the_rule_gives(name, arguments, reference, shared, make, monkeypatch):
    monkeypatch.setattr(backend, "BLOCK", 6)
    ways = [
        {},
        {"numbers": lambda scalars, tensor: scalars},  # as on a GPU, where they stay tensors
        {"has_kernels": lambda *_: False},
    ]
    results = []
    for way in ways:
        rng = np.random.default_rng(0)
        weights = [keras.Variable(make(rng, shape)) for shape in ((2, 3), (5, 4), (1, 1))]
        weights.append(keras.Variable(1.0))
        optimizer = getattr(optimizers, name)(0.1, **arguments, **shared)
        with monkeypatch.context() as patch:
            for function, other in way.items():
                patch.setattr(backend, function, other)
            for _ in range(5):
                given = [uneven(rng, w.shape) for w in weights[:3]]
                optimizer.apply([*given, tensor(-2.0)], weights)
        results.append(values([*weights, *optimizer.variables]))
    # Sums and products may be rounded together or one by one. Adam's kernel on a GPU has 1 − β₂ of
    # a β₂ in float32, in v and in what corrects it.
    rtol = 2e-6 if DEVICE.type == "cpu" else 2e-5
    for *kernels, rule in zip(*results):
        for kernel in kernels:
            np.testing.assert_allclose(kernel, rule, rtol=rtol, atol=5e-7)


def test_steps_too_small_for_the_kernel_of_momentum():
    """It takes 1 − η, in which a small η would have no digits left."""
    weight = keras.Variable(0.0)
    optimizer = optimizers.Momentum(1e-18, momentum=0.5)
    for _ in range(3):
        optimizer.apply([tensor(1.0)], [weight])
    np.testing.assert_allclose(values([weight])[0], -(1 + 1.5 + 1.75) * 1e-18, rtol=1e-6)


def test_half_precision_weight_moves_under_torch_compile():
    """The compiler would drop the rounding to bfloat16, by which the float32 copy is known."""
    keras.config.set_dtype_policy("bfloat16")
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    model.compile(optimizers.SGD(1e-3), "mae", jit_compile=True)  # a gradient of 1
    model.fit(np.ones((8, 1)), -10 * np.ones((8, 1)), epochs=20, batch_size=8, verbose=0)
    np.testing.assert_allclose(values(model.weights)[0], [[0.98]], atol=2**-9)


def test_stateless_apply_leaves_what_it_is_given():
    weight = keras.Variable(np.ones(3, "float32"))
    optimizer = optimizers.Adam(0.1)
    optimizer.build([weight])
    state = [v.value.clone() for v in optimizer.variables]
    before = values(state)
    given = tensor([1.0, 1.0, 1.0])
    new, new_state = optimizer.stateless_apply(state, [torch.ones_like(given)], [given])
    assert_same(values([given, weight]), [np.ones(3), np.ones(3)])
    assert_same(values(state), before)
    assert (new[0] < 1).all()
    assert float(new_state[0]) == 1


def sparse(rng, rows=12, width=3):
    """A sparse gradient with an id that occurs twice, and its dense form."""
    indices = tensor([[1, 4, 1]])
    values_ = tensor(rng.normal(size=(3, width)).astype("float32"))
    given = torch.sparse_coo_tensor(indices, values_, (rows, width), check_invariants=True)
    return given, given.to_dense()


@pytest.mark.parametrize("shared", [{}, {"clipnorm": 0.1}, {"weight_decay": 0.1}])
@every_optimizer
def test_sparse_gradients_give_what_their_dense_form_gives(cls, shared):
    results = []
    for dense in (False, True):
        rng = np.random.default_rng(0)
        weight = keras.Variable(np.ones((12, 3), "float32"))
        optimizer = cls(**own_arguments(cls), **shared)
        for _ in range(3):
            optimizer.apply([sparse(rng)[dense]], [weight])
        results.append(values([weight, *optimizer.variables]))
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=8 * 2.0**-24)


def test_lazy_leaves_the_other_rows_and_their_state_alone():
    rng = np.random.default_rng(0)
    weight = keras.Variable(np.ones((12, 3), "float32"))
    optimizer = optimizers.Adam(0.1, lazy=True, weight_decay=0.1)
    optimizer.apply([torch.ones((12, 3), device=DEVICE)], [weight])
    before = values([weight, *optimizer.variables])
    optimizer.apply([sparse(rng)[0]])
    used = np.isin(np.arange(12), [1, 4])
    for old, new in zip(before, values([weight, *optimizer.variables])):
        if new.shape == (12, 3):
            np.testing.assert_array_equal(new[~used], old[~used])
            assert (new[used] != old[used]).all()


def test_blocks_give_what_the_whole_gives(monkeypatch):
    results = []
    for block in (2**20, 7):
        monkeypatch.setattr(backend, "BLOCK", block)
        monkeypatch.setattr(backend, "SMALL", 2)
        rng = np.random.default_rng(0)
        weight = keras.Variable(np.ones((10, 3), "float32"))
        optimizer = optimizers.Adam(0.1, clipvalue=0.5)
        for _ in range(3):
            optimizer.apply([tensor(rng.normal(size=(10, 3)).astype("float32"))], [weight])
        results.append(values([weight, *optimizer.variables]))
    # Vector and scalar code of the same operation may differ by a rounding.
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_one_optimizer_for_one_model():
    optimizer = optimizers.Adam()
    train(compiled(optimizer))
    with pytest.raises(ValueError, match="Make a new optimizer for another model"):
        train(compiled(optimizer))


def test_a_check_leaves_modules_as_they_are_and_records_no_gradient():
    class Normalized(keras.Model):
        def __init__(self):
            super().__init__()
            self.normalize = torch.nn.BatchNorm1d(3)
            self.end = keras.layers.Dense(2)

        def call(self, x):
            self.recorded = torch.is_grad_enabled()
            return self.end(self.normalize(x))

    model = Normalized()
    model.compile(loss="mse")
    model(torch.ones((4, 3), device=DEVICE))
    (module,) = (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d))
    model.train()
    before = [buffer.clone() for buffer in module.buffers()]
    assert losses.check(model, np.ones((4, 3)), np.ones((4, 2))) == []
    assert not model.recorded and torch.is_grad_enabled()
    assert model.training and module.training
    for one, other in zip(before, module.buffers()):
        assert torch.equal(one, other)
