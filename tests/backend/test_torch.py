"""What only PyTorch has: torch.compile, and weights laid end to end."""

import keras
import numpy as np
import pytest
import torch

from keras_optim_losses import optimizers
from keras_optim_losses.backend import torch as backend
from tests.models import assert_same, compiled, train, values
from tests.test_contract import every_optimizer, own_arguments


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
        optimizer = cls(**own_arguments(cls))
        for _ in range(5):
            optimizer.apply(
                [torch.tensor(rng.normal(size=tuple(w.shape))) for w in weights], weights
            )
        results.append(values([*weights, *optimizer.variables]))
    # Vector and scalar code of the same operation may differ by a rounding.
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


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
    given = torch.ones(3)
    new, new_state = optimizer.stateless_apply(state, [torch.ones(3)], [given])
    assert_same(values([given, weight]), [np.ones(3), np.ones(3)])
    assert_same(values(state), before)
    assert (new[0] < 1).all()
    assert float(new_state[0]) == 1


def test_sparse_gradient_of_an_embedding():
    model = compiled(optimizers.Adam())
    assert np.isfinite(train(model)).all()
    weight = keras.Variable(np.ones((4, 2), "float32"))
    indices = torch.tensor([[1, 1]])
    sparse = torch.sparse_coo_tensor(indices, torch.ones(2, 2), (4, 2), check_invariants=True)
    optimizers.SGD(0.25).apply([sparse], [weight])
    np.testing.assert_allclose(values([weight])[0], [[1, 1], [0.5, 0.5], [1, 1], [1, 1]])


def test_one_optimizer_for_one_model():
    optimizer = optimizers.Adam()
    train(compiled(optimizer))
    with pytest.raises(ValueError, match="Make a new optimizer for another model"):
        train(compiled(optimizer))
