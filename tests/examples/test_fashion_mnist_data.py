"""The loader: where it looks, and what it says where the data is missing or damaged."""

import gzip
import hashlib

import fashion_mnist_data as loader
import numpy as np
import pytest
from fashion_mnist_data import DataError

SMALL = [((20, 28, 28), "train"), ((20,), "train"), ((10, 28, 28), "test"), ((10,), "test")]


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A data set of 20 + 10 images in a folder, with the hashes that the loader expects."""
    folder, files = tmp_path / "small", []
    folder.mkdir()
    for (name, _, _), (shape, _) in zip(loader.FILES, SMALL):
        header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        content = header + bytes(i % 10 for i in range(int(np.prod(shape))))
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        files.append((name, shape, hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(loader, "FILES", files)
    monkeypatch.delenv(loader.VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(loader, "SYSTEM", tmp_path / "system")
    return folder


@pytest.fixture
def offline(monkeypatch):
    def fail():
        raise DataError("the download by Keras failed: no route")

    monkeypatch.setattr(loader, "download", fail)


def test_reads_what_is_there(small):
    data = loader.load(str(small))
    assert data.complete and data.source == str(small)
    assert data.train_images.shape == (20, 28, 28) and data.train_images.dtype == np.uint8
    np.testing.assert_array_equal(data.test_labels, np.arange(10))


def test_places_in_their_order(small, monkeypatch, tmp_path, offline):
    assert not loader.load().complete
    small.rename(tmp_path / "system")
    assert loader.load().source == str(tmp_path / "system")
    cache = tmp_path / "keras" / "datasets" / "fashion-mnist"
    cache.parent.mkdir(parents=True)
    (tmp_path / "system").rename(cache)
    assert loader.load().source == str(cache)
    monkeypatch.setenv(loader.VARIABLE, str(tmp_path / "nowhere"))
    assert loader.load(str(cache)).source == str(cache)
    with pytest.raises(DataError, match="nowhere.*KERAS_OPTIM_LOSSES_DATA"):
        loader.load()


def damage_none(path):
    path.unlink()


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def damage_text(path):
    path.write_bytes(b"not gzip")


def damage_shape(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))


def damage_bits(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize(
    "damage, message",
    [
        (damage_none, "is missing"),
        (damage_cut, "is damaged"),
        (damage_text, "is damaged"),
        (damage_shape, r"bytes where \(10, 28, 28\)"),
        (damage_bits, "SHA-256"),
    ],
)
def test_what_is_wrong_and_what_to_do(small, damage, message):
    damage(small / f"{loader.FILES[2][0]}.gz")
    with pytest.raises(DataError, match=message) as error:
        loader.load(str(small))
    for part in (str(small), "--data-dir", "apt install", loader.FILES[2][0]):
        assert part in str(error.value)


def test_a_subset_is_announced_with_every_place_that_was_tried(small, tmp_path, offline, capsys):
    data = loader.load()
    told = capsys.readouterr().out
    assert not data.complete and "NOT THE WHOLE DATA" in told
    for place in (str(tmp_path / "keras"), str(tmp_path / "system"), "no route", "apt install"):
        assert place in told


def test_the_subset_holds_as_many_images_of_each_class():
    data = loader.read_subset()
    assert data.train_images.shape == (6000, 28, 28) and data.test_images.shape == (1000, 28, 28)
    np.testing.assert_array_equal(np.bincount(data.train_labels), [600] * 10)
    np.testing.assert_array_equal(np.bincount(data.test_labels), [100] * 10)
    # The bytes that `write_subset` takes from the verified files.
    digest = hashlib.sha256(data.train_images.tobytes() + data.test_images.tobytes()).hexdigest()
    assert digest == "4743a14d4f707c07192089e4ec47431ed795230282b94cebf195d312cd5097d9"


def test_files_need_not_be_compressed(small):
    for path in small.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert loader.load(str(small)).complete
