"""Losses on PyTorch: in blocks of samples, with derivatives of their own."""

import keras
import numpy as np
import pytest
import torch

from keras_optim_losses import losses
from keras_optim_losses.backend import torch_losses as backend
from tests.models import values

#: Where Keras has its tensors: on a GPU, if there is one.
DEVICE = keras.ops.zeros(()).device


def tensor(x, dtype=None):
    return torch.tensor(x, dtype=dtype, device=DEVICE)


SAMPLES, CLASSES = 7, 5
LOSSES = [
    (losses.MeanSquaredError, {}),
    (losses.BinaryCrossentropy, {"from_logits": True, "label_smoothing": 0.1}),
    (losses.CategoricalCrossentropy, {"from_logits": True, "class_weight": [1, 2, 0, 1, 1]}),
    (losses.SparseCategoricalCrossentropy, {"from_logits": True, "ignore_class": 3}),
    (losses.SparseCategoricalCrossentropy, {"label_smoothing": 0.1}),
]


def labels_and_predictions(cls, dtype=torch.float32):
    rng = np.random.default_rng(0)
    p = tensor(rng.uniform(0.1, 0.9, (SAMPLES, CLASSES)), dtype).requires_grad_()
    if cls is losses.SparseCategoricalCrossentropy:
        return torch.arange(SAMPLES, device=DEVICE) % CLASSES, p
    return tensor(rng.integers(0, 2, (SAMPLES, CLASSES)).astype("float32")), p


def in_blocks(monkeypatch, samples):
    """Blocks of so many samples; all samples at once for None."""
    monkeypatch.setattr(backend, "LARGE_LOSS", 2**22 if samples is None else 1)
    monkeypatch.setattr(backend, "LOSS_BLOCK", CLASSES * (samples or 1))


@pytest.mark.parametrize("weights", [None, (SAMPLES,), (1,)])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
@pytest.mark.parametrize("cls, given", LOSSES)
def test_blocks_of_samples_give_what_all_give(cls, given, reduction, weights, monkeypatch):
    results = []
    calls = []
    rule = backend._InBlocks.forward
    monkeypatch.setattr(
        backend._InBlocks,
        "forward",
        staticmethod(lambda *given: calls.append(1) or rule(*given)),
    )
    for samples in (None, 3, 1):
        in_blocks(monkeypatch, samples)
        y, p = labels_and_predictions(cls)
        w = None if weights is None else torch.linspace(0, 2, weights[0], device=DEVICE)
        value = cls(**given, reduction=reduction)(y, p, sample_weight=w)
        (value * torch.linspace(1, 2, value.numel(), device=DEVICE)).sum().backward()
        results.append(values([value.detach(), p.grad]))
    assert len(calls) == (2 if DEVICE.type == "cpu" else 0)
    # A weight or a reduction multiplies the gradient of a block after it has been rounded.
    for value, gradient in results[1:]:
        np.testing.assert_allclose(value, results[0][0], rtol=4e-7)
        np.testing.assert_allclose(gradient, results[0][1], rtol=4e-7, atol=1e-8)


@pytest.mark.parametrize("cls, given", LOSSES)
def test_gradients_of_blocks_can_be_taken_twice_and_differentiated(cls, given, monkeypatch):
    results = []
    for samples in (None, 3):
        in_blocks(monkeypatch, samples)
        y, p = labels_and_predictions(cls, torch.float64)
        loss = cls(**given)
        value = loss(y, p)
        twice = [torch.autograd.grad(value, p, retain_graph=True)[0] for _ in range(2)]
        (slope,) = torch.autograd.grad(loss(y, p), p, create_graph=True)
        (second,) = torch.autograd.grad(slope.square().sum(), p)
        results.append(values([*twice, slope.detach(), second]))
    np.testing.assert_array_equal(results[1][0], results[1][1])
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    assert np.abs(results[0][3]).max() > 0


def test_labels_that_learn_have_their_gradient(monkeypatch):
    """As where a teacher is trained along: ∂/∂y of −[y log σ(z) + (1 − y) log σ(−z)] is −z."""
    in_blocks(monkeypatch, 3)
    z = torch.randn(SAMPLES, CLASSES, device=DEVICE)
    y = torch.full((SAMPLES, CLASSES), 0.5, device=DEVICE, requires_grad=True)
    losses.BinaryCrossentropy(from_logits=True, reduction="sum")(y, z).backward()
    np.testing.assert_allclose(*values([y.grad, -z / CLASSES]), rtol=1e-6)


def test_small_shares_of_a_binary_cross_entropy_keep_their_digits():
    """σ(−z) = e^−z to float32's last digits from z = 20 on; 1 − σ(z) would be 0."""
    z = tensor([[20.0], [-20.0], [60.0]]).requires_grad_()
    y = tensor([[1.0], [0.0], [1.0]])
    value = losses.BinaryCrossentropy(from_logits=True, reduction="none")(y, z)
    value.sum().backward()
    tails = np.exp(-np.array([20.0, 20.0, 60.0]))
    np.testing.assert_allclose(values([value.detach()])[0], tails, rtol=1e-6)
    np.testing.assert_allclose(values([z.grad])[0][:, 0], tails * [-1, 1, -1], rtol=1e-6)


def test_first_and_second_derivatives_agree_with_finite_differences():
    torch.manual_seed(0)
    y, z = (torch.randn(6, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(backend.log_likelihood, (y, z))
    assert torch.autograd.gradgradcheck(backend.log_likelihood, (y, z))


def test_infinite_logits_of_a_loss_that_calls_another():
    """What the inner one finds is not forgotten for what the outer one has."""

    class Both(losses.BinaryCrossentropy):
        def call(self, y_true, y_pred):
            inner = losses.binary_crossentropy(y_true, y_pred, from_logits=True)
            return inner + super().call(y_true, y_pred)

    y, z = tensor([[1.0, 0.0]]), tensor([[np.inf, -np.inf]])
    assert float(Both(from_logits=True)(y, z)) == 0
    # Also where the inner one sees no logits.
    Both.call = lambda self, y, p: (
        losses.mean_squared_error(y, y) + losses.BinaryCrossentropy.call(self, y, p)
    )
    assert float(Both(from_logits=True)(y, z)) == 0
