"""The specification of every optimizer: float64 NumPy, from the papers, a formula a line.

Each function takes the weight w, the gradients g of each step and the hyperparameters, and returns
the weight after each step. It shares nothing with the package.
"""

import numpy as np


def gradient_descent(w, gradients, learning_rate, batches_per_update=1):
    path = []
    for t in range(1, len(gradients) + 1):
        if t % batches_per_update == 0:
            mean = np.mean(gradients[t - batches_per_update : t], axis=0)
            w = w - learning_rate * mean
        path.append(w)
    return path


def sgd(w, gradients, learning_rate, momentum=0.0, nesterov=False):
    v = np.zeros_like(w)
    path = []
    for g in gradients:
        v = momentum * v - learning_rate * g
        if nesterov:
            w = w + momentum * v - learning_rate * g
        else:
            w = w + v
        path.append(w)
    return path


def momentum(w, gradients, learning_rate, momentum=0.9, nesterov=False, averaging=False):
    if not averaging:
        return sgd(w, gradients, learning_rate, momentum, nesterov)
    m = np.zeros_like(w)
    path = []
    for g in gradients:
        m = momentum * m + (1 - momentum) * g
        if nesterov:
            w = w - learning_rate * (momentum * m + (1 - momentum) * g)
        else:
            w = w - learning_rate * m
        path.append(w)
    return path


def adagrad(w, gradients, learning_rate, initial_accumulator_value=0.1, epsilon=1e-7):
    h = np.full_like(w, initial_accumulator_value)
    path = []
    for g in gradients:
        h = h + g**2
        w = w - learning_rate * g / np.sqrt(h + epsilon)
        path.append(w)
    return path


def rmsprop(w, gradients, learning_rate, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    h = np.zeros_like(w)
    mean = np.zeros_like(w)
    m = np.zeros_like(w)
    path = []
    for g in gradients:
        h = rho * h + (1 - rho) * g**2
        if centered:
            mean = rho * mean + (1 - rho) * g
            d = np.sqrt(h - mean**2 + epsilon)
        else:
            d = np.sqrt(h + epsilon)
        m = momentum * m + learning_rate * g / d
        w = w - m
        path.append(w)
    return path


def adam(
    w,
    gradients,
    learning_rate,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
    amsgrad=False,
    epsilon_hat=False,
):
    m = np.zeros_like(w)
    v = np.zeros_like(w)
    largest = np.zeros_like(w)
    path = []
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        largest = np.maximum(largest, v)
        used = largest if amsgrad else v
        if epsilon_hat:
            rate = learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
            w = w - rate * m / (np.sqrt(used) + epsilon)
        else:
            m_hat = m / (1 - beta_1**t)
            v_hat = used / (1 - beta_2**t)
            w = w - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)
        path.append(w)
    return path
