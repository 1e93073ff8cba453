"""How property tests draw their examples: the same ones each time, and not many."""

import keras
from hypothesis import HealthCheck, settings


def examples(count):
    """So many examples, the same in every run; half as many on JAX, which compiles each operation.

    The structure of an example is drawn, and its numbers come from a seed. Shapes are few, for a
    compiler takes its time for each.
    """
    return settings(
        max_examples=count // 2 if keras.backend.backend() == "jax" else count,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
