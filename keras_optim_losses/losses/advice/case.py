"""One loss on one output: all that the rules look at."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_optim_losses.losses.advice.compiled import LossUse
from keras_optim_losses.losses.advice.labels import ROW_TOLERANCE, Labels
from keras_optim_losses.losses.advice.outputs import PROBABILITIES

#: How many rows it takes to tell from their sums alone that they come from a softmax.
ROWS_OF_A_SOFTMAX = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """One loss on one output. A place is one prediction: a sample, a step of a sequence, a pixel.

    Attributes:
        loss: the loss.
        labels: labels of many samples, (n, …).
        weights: their sample weights, or None.
        batch_labels, batch_weights: those of the batch that the model was run on.
        predictions: the output for that batch, (b, …), as float32 or float64.
        mask: the mask of the output, or None.
        activation: where the output comes from, or None.
        metrics: as they were compiled.
        class_weight: of `fit`, or None.
        complete: whether `labels` are all there are.
        outputs: how many outputs have labels.
        failure: computes the loss, and says what it raised, or that its value is not finite; else
            it gives an empty text.
    """

    loss: LossUse
    labels: np.ndarray
    weights: np.ndarray | None
    batch_labels: np.ndarray
    batch_weights: np.ndarray | None
    predictions: np.ndarray
    mask: np.ndarray | None
    activation: str | None
    metrics: list[Any]
    class_weight: Any
    complete: bool
    outputs: int
    failure: Callable[[], str]

    # Shapes

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the predictions of a sample; one number counts as a row of one."""
        return self.predictions.shape[1:] or (1,)

    @functools.cached_property
    def axis(self) -> int:
        """The axis of the classes in `shape`."""
        rank = len(self.shape) + 1
        axis = self.loss.axis % rank if -rank <= self.loss.axis < rank else rank - 1
        return max(axis - 1, 0)

    @property
    def units(self) -> int:
        """How many classes, questions or values a place has."""
        return self.shape[self.axis]

    @property
    def places(self) -> tuple[int, ...]:
        """The shape of the places of a sample: () for one prediction, (t,) for a sequence."""
        return (*self.shape[: self.axis], *self.shape[self.axis + 1 :])

    @property
    def expected(self) -> tuple[int, ...]:
        """The shape that the labels of a sample should have."""
        return self.places if self.loss.family == "sparse" else self.shape

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape that they have."""
        return self.labels.shape[1:]

    @functools.cached_property
    def fits(self) -> bool:
        """Whether the two agree, where one axis of 1 at the end may be missing or too many."""
        given = self.label_shape
        return self.expected in (given, (*given, 1)) or (*self.expected, 1) == given

    # Labels that count

    def _aligned(self, labels: np.ndarray) -> np.ndarray:
        """Labels as (n, places…), for whole rows with the classes at the end."""
        aligned = labels.reshape(len(labels), *self.expected)
        return aligned if self.loss.family == "sparse" else np.moveaxis(aligned, 1 + self.axis, -1)

    def _counts(self, size: int, weights: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray:
        """Which places count, as (n, places…): those with a weight that no mask hides."""
        shape = (size, *self.places)
        counts = np.ones(shape, bool)
        for flags in (weights, mask):
            if flags is None:
                continue
            while flags.ndim > len(shape) and flags.shape[-1] == 1:
                flags = flags[..., 0]
            flags = flags.reshape(*flags.shape, *[1] * (len(shape) - flags.ndim)) != 0
            try:
                counts = counts & np.broadcast_to(flags, shape)
            except ValueError:  # weights of another shape: the loss itself will say so
                pass
        return counts

    @functools.cached_property
    def counted(self) -> Labels:
        """The labels of the places that count: (m,) classes, or (m, units) rows."""
        if self.mask is None:
            labels, weights = self.labels, self.weights
        else:
            labels, weights = self.batch_labels, self.batch_weights
        aligned = self._aligned(labels)
        counts = self._counts(len(aligned), weights, self.mask)
        if self.loss.ignore_class is not None:
            counts = counts & (aligned != self.loss.ignore_class)
        return Labels(aligned[counts])

    @property
    def met(self) -> Labels:
        """The labels that the loss computes with: Keras' own multiply what is masked by 0."""
        return self.counted if self.loss.leaves_out and self.fits else Labels(self.labels)

    # Predictions

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """The predictions of the places that count, as (m, units)."""
        rows = np.moveaxis(self.predictions.reshape(-1, *self.shape), 1 + self.axis, -1)
        return rows[self._counts(len(rows), self.batch_weights, self.mask)]

    @functools.cached_property
    def within_0_1(self) -> bool:
        """Whether all predictions could be probabilities."""
        low, high = -ROW_TOLERANCE, 1 + ROW_TOLERANCE
        return bool(((self.rows >= low) & (self.rows <= high)).all())

    @functools.cached_property
    def sums_to_1(self) -> bool:
        """Whether the predictions of each place are the probabilities of exclusive classes."""
        close = np.abs(self.rows.sum(axis=-1, dtype="float64") - 1) <= ROW_TOLERANCE
        return self.within_0_1 and bool(close.all())

    @functools.cached_property
    def softmax(self) -> bool:
        """Whether the output is a softmax over more than one unit."""
        if self.units < 2 or not self.sums_to_1 or not len(self.rows):
            return False
        unknown = self.activation is None and len(self.rows) >= ROWS_OF_A_SOFTMAX
        return self.activation == "softmax" or unknown

    @property
    def probabilities(self) -> bool:
        """Whether the output has been through a softmax or a sigmoid."""
        return self.softmax or self.activation in PROBABILITIES
