"""Optimizers and losses for Keras 3. Importing this package registers every class with Keras."""

from importlib import metadata

from keras_optim_losses import losses, optimizers

__all__ = ["losses", "optimizers"]
__version__ = metadata.version("keras_optim_losses")
