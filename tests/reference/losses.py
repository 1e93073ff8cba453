"""The specification of every loss: float64 NumPy, one value a sample, a formula a line.

It shares nothing with the package.
"""

import numpy as np


def log_sigmoids(z):
    """log σ(z) and log(1 − σ(z)), where 1 − σ(z) may round to 0."""
    return -np.log1p(np.exp(-z)), -np.log1p(np.exp(z))


def softmax(z, axis):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def along(weights, axis, rank):
    shape = [1] * rank
    shape[axis] = -1
    return np.asarray(weights, float).reshape(shape)


def binary_crossentropy(y, x, from_logits=False, label_smoothing=0.0, axis=-1, pos_weight=None):
    log_yes, log_no = log_sigmoids(x) if from_logits else (np.log(x), np.log(1 - x))
    y = y * (1 - label_smoothing) + label_smoothing / 2
    w = 1.0 if pos_weight is None else pos_weight
    if np.ndim(w):
        w = along(w, axis, x.ndim)
    return -np.mean(w * y * log_yes + (1 - y) * log_no, axis=axis)


def categorical_crossentropy(
    y, x, from_logits=False, label_smoothing=0.0, axis=-1, class_weight=None
):
    p = softmax(x, axis) if from_logits else x / x.sum(axis=axis, keepdims=True)
    y = y * (1 - label_smoothing) + label_smoothing / p.shape[axis]
    c = 1.0 if class_weight is None else along(class_weight, axis, p.ndim)
    return -np.sum(c * y * np.log(p), axis=axis)


def sparse_categorical_crossentropy(
    y,
    x,
    from_logits=False,
    ignore_class=None,
    axis=-1,
    label_smoothing=0.0,
    class_weight=None,
):
    classes = np.arange(x.shape[axis]).reshape(
        [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    )
    one_hot = (np.expand_dims(y, axis) == classes).astype(float)
    values = categorical_crossentropy(one_hot, x, from_logits, label_smoothing, axis, class_weight)
    return values if ignore_class is None else np.where(y == ignore_class, 0, values)


def mean_squared_error(y, x):
    return np.mean((y - x) ** 2, axis=-1)


def reduced(values, reduction, weight=None, counted=None):
    """The loss of values, one a sample. `counted` says which of them a mask leaves."""
    weight = np.ones_like(values) if weight is None else weight
    counted = np.ones_like(values, bool) if counted is None else counted
    weighted = np.where(counted, values * weight, 0)
    if reduction is None:
        return weighted
    if reduction == "sum":
        return weighted.sum()
    share = np.where(counted, weight if reduction == "mean_with_sample_weight" else 1, 0).sum()
    return weighted.sum() / share if share else 0.0
