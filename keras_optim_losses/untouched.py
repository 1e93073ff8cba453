"""A look at training or data that leaves the model, and random numbers, as they were."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops
from keras.src.random.seed_generator import global_seed_generator

from keras_optim_losses import backend


@contextlib.contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Python, NumPy and the backend draw afterwards what they would have drawn without it."""
    python, numpy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")  # a DataLoader draws its order there under every backend
    order = torch.random.fork_rng([]) if torch else contextlib.nullcontext()
    with backend.random_state_kept(), order:
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextlib.contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Put a compiled model back at the end, bit for bit, and also where an exception ends it.

    That is: weights, the state of layers and of their random seeds, the optimizer's state, metrics,
    and the random state of Keras, NumPy, Python and PyTorch. Meanwhile the values lie in the memory
    of the host. An optimizer that has no state yet is built first, and stays built.

    Args:
        model: built and compiled.
    """
    with random_numbers_kept():  # from here on: Keras draws the seed of what has none yet
        if not model.optimizer.built:
            with backend.placement(model.trainable_variables[0]):
                model.optimizer.build(model.trainable_variables)
        variables = [
            *model.variables,
            *model.optimizer.variables,
            *model.metrics_variables,
            global_seed_generator().state,  # of random operations that have no seed of their own
        ]
        values = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
        try:
            yield
        finally:
            model.reset_metrics()  # also those that have been made meanwhile
            for variable, value in zip(variables, values):
                variable.assign(value)
