"""The callbacks: look at training from inside."""

from __future__ import annotations

from keras_optim_losses.callbacks.check_first_batch import CheckFirstBatch
from keras_optim_losses.callbacks.learning_rate_finder import LearningRateFinder
from keras_optim_losses.callbacks.update_monitor import UpdateMonitor

__all__ = ["CheckFirstBatch", "LearningRateFinder", "UpdateMonitor"]
