"""Optimizers, losses and callbacks for Keras 3.

Importing this package registers every class that Keras saves.
"""

from importlib import metadata

from keras_optim_losses import callbacks, losses, optimizers

__all__ = ["callbacks", "losses", "optimizers"]
__version__ = metadata.version("keras_optim_losses")
