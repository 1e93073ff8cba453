"""What all lessons share: their arguments, their data, and the list of what they wrote."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import style
from fashion_mnist_data import Data, DataError, load, read_subset
from matplotlib import pyplot
from matplotlib.figure import Figure


@dataclass
class Lesson:
    """A lesson that runs: its arguments, its data, and what it has written by now."""

    given: argparse.Namespace
    data: Data | None
    written: list[Path] = field(default_factory=list)

    @property
    def quick(self) -> bool:
        return self.given.quick

    def save(self, figure: Figure, name: str) -> None:
        """Write a picture as `name`.png."""
        self.written.append(style.save(figure, self.given.out / f"{name}.png"))
        pyplot.close(figure)

    def end(self) -> int:
        """Say what was written, in the last lines of what the lesson prints."""
        print("\nWrote:")
        for path in self.written:
            print(f"  {path} ({path.stat().st_size / 1000:,.0f} kB)")
        return 0


def thinned(data: Data) -> Data:
    """640 images to train and 200 to test: whole batches, for each size is compiled anew."""
    return dataclasses.replace(
        data,
        train_images=data.train_images[:640],
        train_labels=data.train_labels[:640],
        test_images=data.test_images[:200],
        test_labels=data.test_labels[:200],
    )


def begin(
    title: str | None,
    arguments: list[str] | None,
    more: Callable[[argparse.ArgumentParser], Any] = lambda parser: None,
    images: bool = True,
) -> Lesson:
    """Read the arguments, load the data, set the seed.

    Args:
        title: the docstring of the script, which `--help` shows.
        arguments: of the command line; None for those of this process.
        more: adds arguments of this lesson alone.
        images: whether it needs Fashion-MNIST.
    """
    parser = argparse.ArgumentParser(
        description=title, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a trial of seconds, on little data")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("out"))
    if images:
        parser.add_argument("--data-dir", metavar="FOLDER", help="a folder with the four files")
    more(parser)
    given = parser.parse_args(arguments)
    data = None
    try:
        if images:
            # The same images on every machine.
            data = thinned(read_subset()) if given.quick else load(given.data_dir)
        given.out.mkdir(parents=True, exist_ok=True)
    except (DataError, OSError) as error:
        parser.error(str(error))
    # TensorFlow warns where a script makes more than a few models.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    style.use()
    keras.utils.set_random_seed(0)
    print(f"Keras {keras.__version__} on {keras.backend.backend()}.")
    if data is not None:
        print(f"Data: {data.source}.")
        if given.quick or not data.complete:
            print("This is a part of the data: its accuracy is not that of Fashion-MNIST.")
    return Lesson(given, data)
