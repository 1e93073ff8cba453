"""Fashion-MNIST, wherever it lies: 60,000 + 10,000 grey images of clothes in ten classes."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

VARIABLE = "KERAS_OPTIM_LOSSES_DATA"
SYSTEM = Path("/usr/share/datasets/fashion-mnist")
SUBSET = Path(__file__).parent / "data" / "fashion_mnist_subset.npz"

CLASSES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

# Name, shape, and SHA-256 of the decompressed bytes: the .gz differ by who compressed them.
FILES = (
    (
        "train-images-idx3-ubyte",
        (60000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    (
        "train-labels-idx1-ubyte",
        (60000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    (
        "t10k-images-idx3-ubyte",
        (10000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    (
        "t10k-labels-idx1-ubyte",
        (10000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

REMEDY = (
    "Get the data by `apt install dataset-fashion-mnist`; or put the four files "
    "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz of "
    "https://github.com/zalandoresearch/fashion-mnist into a folder and name it by --data-dir or "
    f"the variable {VARIABLE}; or name none of the two, for an embedded subset."
)


class DataError(Exception):
    """The data cannot be had from where it should be; the message says why and what to do."""


@dataclass(frozen=True)
class Data:
    """Images uint8 (n, 28, 28), labels uint8 (n,) from 0 to 9, and where they are from."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str
    complete: bool


def read_file(folder: Path, name: str, shape: tuple[int, ...], sha256: str) -> np.ndarray:
    """One file of the idx format, with or without .gz, as uint8 of that shape.

    Raises:
        DataError: it is missing, damaged, or not the file that it should be.
    """
    path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
    if path is None:
        raise DataError(f"{folder / name}.gz is missing")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    # A header of four bytes, and four for each axis.
    header = 4 + 4 * len(shape)
    expected = header + int(np.prod(shape))
    if len(content) != expected:
        raise DataError(f"{path} holds {len(content)} bytes where {shape} takes {expected}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path} is damaged: its SHA-256 is not that of Fashion-MNIST")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_folder(folder: Path) -> Data:
    """The complete data from a folder of the four files.

    Raises:
        DataError: see `read_file`.
    """
    arrays = [read_file(folder, name, shape, sha256) for name, shape, sha256 in FILES]
    return Data(*arrays, source=str(folder), complete=True)


def download() -> Data:
    """The complete data through Keras, which keeps it in its cache.

    Raises:
        DataError: there is no way to it.
    """
    import keras

    try:
        (x, y), (test_x, test_y) = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where the address cannot be reached
        reason = str(error).strip().splitlines()[-1][:200]
        raise DataError(f"the download by Keras failed: {reason}") from error
    return Data(x, y, test_x, test_y, source="download by Keras", complete=True)


def read_subset() -> Data:
    """The 6,000 + 1,000 images in this repository, 600 and 100 of each class."""
    with np.load(SUBSET) as arrays:
        return Data(**arrays, source=str(SUBSET), complete=False)


def keras_cache() -> Path:
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "datasets" / "fashion-mnist"


def load(data_dir: str | None = None) -> Data:
    """Fashion-MNIST from the first place that has it.

    In this order: `data_dir`, the folder that the variable KERAS_OPTIM_LOSSES_DATA names, Keras'
    cache, /usr/share/datasets/fashion-mnist, a download by Keras, the embedded subset.

    Args:
        data_dir: a folder with the four files. If it is given, or the variable is, the data must
            be there: who names a folder does not want other data.

    Raises:
        DataError: the folder named does not hold the data.
    """
    named = data_dir or os.environ.get(VARIABLE)
    if named:
        by = "--data-dir" if data_dir else f"the variable {VARIABLE}"
        try:
            return read_folder(Path(named))
        except DataError as error:
            raise DataError(f"Tried {named}, named by {by}: {error}.\n{REMEDY}") from error
    tried = []
    for folder in (keras_cache(), SYSTEM):
        try:
            return read_folder(folder)
        except DataError as error:
            tried.append(str(error))
    try:
        return download()
    except DataError as error:
        tried.append(str(error))
    print("=" * 80)
    print(
        "NOT THE WHOLE DATA: training on an embedded subset of 6,000 + 1,000 images. Its accuracy"
    )
    print("is not that of Fashion-MNIST. Tried:", *tried, sep="\n  ")
    print(REMEDY)
    print("=" * 80)
    return read_subset()


def write_subset(path: Path = SUBSET) -> None:
    """Make the embedded subset: the first 600 and 100 images of each class."""
    data = read_folder(SYSTEM)

    def chosen(labels: np.ndarray, count: int) -> np.ndarray:
        return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))

    train, test = chosen(data.train_labels, 600), chosen(data.test_labels, 100)
    np.savez_compressed(
        path,
        train_images=data.train_images[train],
        train_labels=data.train_labels[train],
        test_images=data.test_images[test],
        test_labels=data.test_labels[test],
    )


if __name__ == "__main__":
    write_subset()
