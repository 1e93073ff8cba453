"""Reading data: a batch to run the model on, and a sample of the labels, of bounded size."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_optim_losses.untouched import random_numbers_kept

#: How many entries of labels are looked at, at most.
ENTRIES = 2**20
#: How many batches of a data set are read, at most.
BATCHES = 16
#: How many samples of arrays make the batch that the model is run on.
SAMPLES = 32


@dataclasses.dataclass(frozen=True)
class Data:
    """What was read. Each entry is an array, or a structure of arrays where there are several.

    Attributes:
        x, y, sample_weight: one batch; y and the weights as NumPy arrays, or None.
        labels, weights: y and the weights of more samples, as NumPy arrays.
        complete: whether these are all samples there are.
    """

    x: Any
    y: Any
    sample_weight: Any
    labels: Any
    weights: Any
    complete: bool


def read(x: Any, y: Any = None, sample_weight: Any = None) -> Data:
    """Read arrays, or a data set of batches: whatever `fit` takes, generators excepted.

    Raises:
        ValueError: a generator, which would lose its first batch; labels beside a data set; sizes
            that do not agree; labels that are no numbers.
    """
    if is_dataset(x):
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"A data set holds its own labels and weights: `y` and `sample_weight` must be "
                f"None where `x` is one. Received: x of type {type(x).__name__}."
            )
        return of_batches(*_first_batches(x))
    x = _structure(x, lambda entry: entry if hasattr(entry, "shape") else np.asarray(entry))
    y = _structure(y, lambda entry: array("y", entry))
    sample_weight = _structure(sample_weight, lambda entry: array("sample_weight", entry))
    _same_size("`x`, `y` and `sample_weight`", [x, y, sample_weight])
    chosen, complete = _spread([y, sample_weight])

    def first(entry: Any) -> Any:
        return entry[:SAMPLES]

    def some(entry: Any) -> Any:
        return entry[chosen]

    return Data(
        x=_structure(_structure(x, first), tensor),
        y=_structure(y, first),
        sample_weight=_structure(sample_weight, first),
        labels=_structure(y, some),
        weights=_structure(sample_weight, some),
        complete=complete,
    )


def of_batches(batches: list[Any], complete: bool = False) -> Data:
    """The first of some batches, and the labels of all of them.

    Args:
        batches: each x, (x, y) or (x, y, sample_weight), at least one.
        complete: whether these are all.
    """
    parts = [keras.utils.unpack_x_y_sample_weight(batch) for batch in batches]
    x, y, weights = parts[0]
    y, weights = (
        _structure(part, lambda entry, name=name: array(name, entry))
        for name, part in (("y", y), ("sample_weight", weights))
    )
    return Data(
        x=_structure(x, tensor),
        y=y,
        sample_weight=weights,
        labels=_joined("y", y, [part[1] for part in parts]),
        weights=_joined("sample_weight", weights, [part[2] for part in parts]),
        complete=complete,
    )


def labels(y: Any) -> tuple[Any, bool]:
    """A sample of the labels alone, as NumPy arrays, and whether these are all.

    Args:
        y: labels, or a data set of them, or one of (x, y).
    """
    if is_dataset(y):
        batches, complete = _first_batches(y)
        parts = [keras.utils.unpack_x_y_sample_weight(batch) for batch in batches]
        own = [x if y is None else y for x, y, _ in parts]
        first = _structure(own[0], lambda entry: array("y", entry))
        return _joined("y", first, own), complete
    y = _structure(y, lambda entry: array("y", entry))
    _same_size("All parts of `y`", y)
    chosen, complete = _spread(y)
    return _structure(y, lambda entry: entry[chosen]), complete


def is_dataset(x: Any) -> bool:
    """Whether `x` gives batches: a `tf.data.Dataset`, a PyDataset, a DataLoader, any iterable.

    Raises:
        ValueError: it is a generator, or another iterator that can be read only once.
    """
    if isinstance(x, keras.utils.PyDataset):
        return True
    if hasattr(x, "shape") or isinstance(x, (list, tuple, dict, str, bytes)):
        return False
    if not isinstance(x, Iterable):
        return False
    if isinstance(x, Iterator):
        raise ValueError(
            f"A generator can be read only once, and training would lose what is read here. Give "
            f"one batch of it: `x, y = next(generator)`. Received: {x!r}"
        )
    return True


def array(name: str, entry: Any) -> np.ndarray:
    """Numbers, of whatever library, as a NumPy array.

    Raises:
        ValueError: they are no numbers, or there are none.
    """
    if ops.is_tensor(entry):
        entry = ops.convert_to_numpy(entry)
    elif hasattr(entry, "detach"):  # a PyTorch tensor under another backend
        entry = entry.detach().cpu()
    result = np.asarray(entry)
    if result.dtype.kind in "Vb":  # bfloat16; True and False
        result = result.astype("float32" if result.dtype.kind == "V" else "uint8")
    if result.dtype.kind not in "iuf":
        raise ValueError(
            f"`{name}` must hold numbers, in rows of one length. Number classes that are words by "
            f"`np.unique(y, return_inverse=True)`. Received: {type(entry).__name__} of dtype "
            f"{result.dtype}"
        )
    if not result.size or not result.ndim:
        raise ValueError(f"`{name}` must hold samples. Received: shape {result.shape}")
    return result


def tensor(entry: Any) -> Any:
    """An input as `fit` would hand it to the model: floats in Keras' float type."""
    if not ops.is_tensor(entry):
        entry = np.asarray(entry.detach().cpu() if hasattr(entry, "detach") else entry)
        if entry.dtype.kind == "f":
            entry = entry.astype(keras.config.floatx())
    return ops.convert_to_tensor(entry)


def _structure(structure: Any, function: Any) -> Any:
    """`function` of each entry that is not None; plain numbers in lists are one entry."""
    leaves = keras.tree.flatten(structure)
    if isinstance(structure, (list, tuple)) and leaves and all(map(np.isscalar, leaves)):
        return function(np.asarray(structure))
    return keras.tree.map_structure(
        lambda entry: None if entry is None else function(entry), structure
    )


def _same_size(names: str, structure: Any) -> None:
    sizes = {len(entry) for entry in keras.tree.flatten(structure) if entry is not None}
    if len(sizes) != 1:
        raise ValueError(
            f"{names} must hold the same number of samples. Received: {sorted(sizes)} samples."
        )


def _spread(structure: Any) -> tuple[np.ndarray, bool]:
    """Which samples are looked at, from first to last, and whether that is all of them."""
    entries = [entry for entry in keras.tree.flatten(structure) if entry is not None]
    if not entries:
        return np.arange(0), True
    samples = len(entries[0])
    each = max(entry.size // len(entry) for entry in entries)
    count = min(samples, max(1, ENTRIES // max(each, 1)))
    return np.linspace(0, samples - 1, count).astype(int), count == samples


def _joined(name: str, first: Any, parts: list[Any]) -> Any:
    """The entries of all batches end to end; those of another shape, as padding gives, left out."""
    if first is None:
        return None
    columns = zip(*(keras.tree.flatten(part) for part in parts))
    joined = []
    for column, head in zip(columns, keras.tree.flatten(first)):
        entries = [array(name, entry) for entry in column if entry is not None]
        same = [entry for entry in entries if entry.shape[1:] == head.shape[1:]]
        joined.append(np.concatenate(same) if same else None)
    return keras.tree.pack_sequence_as(first, joined)


def _first_batches(data: Any) -> tuple[list[Any], bool]:
    with random_numbers_kept():  # which a data set may draw to shuffle or augment
        if isinstance(data, keras.utils.PyDataset):
            count = data.num_batches
            read = [data[i] for i in range(BATCHES if count is None else min(count, BATCHES))]
            complete = count == len(read)
        else:
            read = list(itertools.islice(data, BATCHES + 1))
            complete = len(read) <= BATCHES
    if not read:
        raise ValueError(f"The data set must hold at least one batch. Received: {data!r}")
    return read[:BATCHES], complete
