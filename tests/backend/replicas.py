"""One strategy for all tests of a process: TensorFlow mixes up the reductions of two."""

import functools

import tensorflow as tf


@functools.cache
def mirrored():
    """Two replicas, on the devices that `conftest.py` makes."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
