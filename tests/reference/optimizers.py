"""The optimizers in float64 NumPy, a formula a line.

Every optimizer takes the initial weights (a list of arrays), the gradients (for each call a list of
arrays, one a weight) and its hyperparameters, and returns the list of weights after each call. The
learning rate is a number, or a sequence with one for each call. `**shared` goes to `updates`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Arrays = list[np.ndarray]


def updates(
    rule: Callable,
    weights: Sequence,
    gradients: Sequence,
    learning_rate,
    loss_scale_factor: float = 1.0,
    gradient_accumulation_steps: int = 1,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    weight_decay: float = 0.0,
    use_ema: bool = False,
    ema_momentum: float = 0.99,
    ema_overwrite_frequency: int | None = None,
    constraint: Callable | None = None,
) -> list[Arrays]:
    """What happens round the rule, in this order.

    `rule(i, w, g, eta, t)` returns weight i after update t, counted from 1.
    """
    w = [np.array(x, "float64") for x in weights]
    waiting: list[Arrays] = []
    average: Arrays = []
    t = 0
    trajectory = []
    for call, batch in enumerate(gradients):
        eta = learning_rate[call] if np.ndim(learning_rate) else learning_rate
        waiting.append([np.asarray(g, "float64") / loss_scale_factor for g in batch])
        if len(waiting) == gradient_accumulation_steps:
            t = t + 1
            g = [np.mean(of_one_weight, axis=0) for of_one_weight in zip(*waiting)]
            waiting = []
            g = clipped(g, clipnorm, clipvalue, global_clipnorm)
            # w ← w − ηλw
            w = [x - eta * weight_decay * x for x in w]
            w = [rule(i, x, dx, eta, t) for i, (x, dx) in enumerate(zip(w, g))]
            if use_ema:
                average = averaged(average, w, ema_momentum)
                if ema_overwrite_frequency and t % ema_overwrite_frequency == 0:
                    w = average
            if constraint:
                w = [constraint(x) for x in w]
        trajectory.append(w)
    return trajectory


def zeros_like(weights: Sequence) -> Arrays:
    return [np.zeros(np.shape(x)) for x in weights]


def clipped(g: Arrays, clipnorm=None, clipvalue=None, global_clipnorm=None) -> Arrays:
    """Norms: shortened to the given length where longer, per weight or all weights together."""
    if clipnorm:
        return [x * min(clipnorm / norm([x]), 1.0) if norm([x]) > 0 else x for x in g]
    if global_clipnorm:
        return [x * min(global_clipnorm / norm(g), 1.0) if norm(g) > 0 else x for x in g]
    if clipvalue:
        return [np.minimum(np.maximum(x, -clipvalue), clipvalue) for x in g]
    return g


def norm(arrays: Arrays) -> float:
    return np.sqrt(sum(np.sum(x**2) for x in arrays))


def averaged(average: Arrays, w: Arrays, mu: float) -> Arrays:
    """a ← w at the first update, then a ← μa + (1 − μ)w."""
    if not average:
        return w
    return [mu * a + (1 - mu) * x for a, x in zip(average, w)]


def gradient_descent(
    weights, gradients, learning_rate=0.01, batches_per_update=1, **shared
) -> list[Arrays]:
    def rule(i, w, g, eta, t):
        # w ← w − ηḡ, where ḡ is the mean over the batches
        return w - eta * g

    shared = {**shared, "gradient_accumulation_steps": batches_per_update}
    return updates(rule, weights, gradients, learning_rate, **shared)


def sgd(
    weights, gradients, learning_rate=0.01, momentum=0.0, nesterov=False, **shared
) -> list[Arrays]:
    """With a momentum of 0, v is −ηg and w ← w + v is plain descent, in both forms."""
    return polyak(weights, gradients, learning_rate, momentum, nesterov, **shared)


def momentum(
    weights,
    gradients,
    learning_rate=0.01,
    momentum=0.9,
    nesterov=False,
    averaging=False,
    **shared,
) -> list[Arrays]:
    form = averaging_momentum if averaging else polyak
    return form(weights, gradients, learning_rate, momentum, nesterov, **shared)


def polyak(weights, gradients, learning_rate, alpha, nesterov, **shared) -> list[Arrays]:
    v = zeros_like(weights)

    def rule(i, w, g, eta, t):
        # v ← αv − ηg
        v[i] = alpha * v[i] - eta * g
        if nesterov:
            # w ← w + αv − ηg
            return w + alpha * v[i] - eta * g
        # w ← w + v
        return w + v[i]

    return updates(rule, weights, gradients, learning_rate, **shared)


def averaging_momentum(weights, gradients, learning_rate, beta, nesterov, **shared) -> list[Arrays]:
    m = zeros_like(weights)

    def rule(i, w, g, eta, t):
        # m ← βm + (1 − β)g
        m[i] = beta * m[i] + (1 - beta) * g
        if nesterov:
            # w ← w − η(βm + (1 − β)g)
            return w - eta * (beta * m[i] + (1 - beta) * g)
        # w ← w − ηm
        return w - eta * m[i]

    return updates(rule, weights, gradients, learning_rate, **shared)


def adagrad(
    weights,
    gradients,
    learning_rate=0.001,
    initial_accumulator_value=0.1,
    epsilon=1e-7,
    **shared,
) -> list[Arrays]:
    h = [start + initial_accumulator_value for start in zeros_like(weights)]

    def rule(i, w, g, eta, t):
        # h ← h + g²
        h[i] = h[i] + g**2
        # w ← w − ηg / √(h + ε)
        return w - eta * g / np.sqrt(h[i] + epsilon)

    return updates(rule, weights, gradients, learning_rate, **shared)


def rmsprop(
    weights,
    gradients,
    learning_rate=0.001,
    rho=0.9,
    momentum=0.0,
    epsilon=1e-7,
    centered=False,
    **shared,
) -> list[Arrays]:
    h, mean, m = zeros_like(weights), zeros_like(weights), zeros_like(weights)

    def rule(i, w, g, eta, t):
        # h ← ρh + (1 − ρ)g²
        h[i] = rho * h[i] + (1 - rho) * g**2
        # ḡ ← ρḡ + (1 − ρ)g
        mean[i] = rho * mean[i] + (1 - rho) * g
        # d = √(h + ε), centered √(h − ḡ² + ε)
        d = np.sqrt(h[i] - mean[i] ** 2 + epsilon) if centered else np.sqrt(h[i] + epsilon)
        # m ← μm + ηg / d
        m[i] = momentum * m[i] + eta * g / d
        # w ← w − m
        return w - m[i]

    return updates(rule, weights, gradients, learning_rate, **shared)


def adam(
    weights,
    gradients,
    learning_rate=0.001,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
    amsgrad=False,
    epsilon_hat=False,
    **shared,
) -> list[Arrays]:
    m, v, largest = zeros_like(weights), zeros_like(weights), zeros_like(weights)

    def rule(i, w, g, eta, t):
        # m ← β₁m + (1 − β₁)g
        m[i] = beta_1 * m[i] + (1 - beta_1) * g
        # v ← β₂v + (1 − β₂)g²
        v[i] = beta_2 * v[i] + (1 - beta_2) * g**2
        # AMSGrad: the largest v so far in place of v
        largest[i] = np.maximum(largest[i], v[i])
        u = largest[i] if amsgrad else v[i]
        if epsilon_hat:
            # w ← w − η√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε)
            return w - eta * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m[i] / (
                np.sqrt(u) + epsilon
            )
        # m̂ = m/(1 − β₁ᵗ)
        m_hat = m[i] / (1 - beta_1**t)
        # v̂ = v/(1 − β₂ᵗ)
        v_hat = u / (1 - beta_2**t)
        # w ← w − η m̂/(√v̂ + ε)
        return w - eta * m_hat / (np.sqrt(v_hat) + epsilon)

    return updates(rule, weights, gradients, learning_rate, **shared)
