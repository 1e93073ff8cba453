"""The command: `python -m keras_optim_losses check` and `… recommend`, for work with files."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_optim_losses import losses


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: as typed; by default those of the process.

    Returns:
        The exit status: 1 where errors were found, else 0. What cannot be read, and wrong usage,
        end the process with 2 and a message.
    """
    parser = argparse.ArgumentParser(
        prog="python -m keras_optim_losses",
        description="Advice on losses. Files are read safely: no code in them is run.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check",
        help="find what does not fit between labels, output layer and loss",
        description="Find what does not fit between labels, output layer and loss of a compiled "
        "model. The exit status is 1 where that is an error.",
    )
    check.add_argument("model", metavar="model.keras", help="a model, saved as it was compiled")
    check.add_argument(
        "data",
        metavar="data.npz",
        help="arrays x and y, and sample_weight if there is one, as np.savez writes them; of "
        "several inputs or outputs x_NAME and y_NAME",
    )
    recommend = commands.add_parser(
        "recommend",
        help="say which loss fits labels",
        description="Say which loss fits labels, with the last layer and the metric.",
    )
    recommend.add_argument("labels", metavar="labels.npy", help="labels, as np.save writes them")
    recommend.add_argument(
        "model", metavar="model.keras", nargs="?", help="the model whose last layer is looked at"
    )
    given = parser.parse_args(arguments)
    try:
        if given.command == "check":
            found = _checked(_model(given.model), _archive(given.data), given.data)
            print(found)
            return 1 if found.errors else 0
        model = None if given.model is None else _model(given.model)
        print(losses.recommend(_labels(given.labels), model))
        return 0
    except ValueError as error:
        commands.choices[given.command].error(str(error))


def _checked(model: keras.Model, data: dict[str, np.ndarray], path: str) -> Any:
    x, y = _entries(data, "x", path), _entries(data, "y", path)
    try:
        return losses.check(model, x, y, data.get("sample_weight"))
    except Exception as error:  # whatever a backend raises where inputs do not fit
        raise ValueError(_first_line(error)) from error


def _model(path: str) -> keras.Model:
    if not path.endswith(".keras"):
        raise ValueError(
            f"A model must be a file that ends in .keras, as `model.save` writes it; other formats "
            f"can hold code. Received: {path}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of the optimizer's state, which is not used
            return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # whatever Keras raises, the file cannot be read
        raise ValueError(
            f"The model {path} cannot be read: {_first_line(error)} Layers of your own and Lambda "
            f"layers are not loaded, for that would run their code: call `losses.check` in Python."
        ) from error


def _labels(path: str) -> np.ndarray:
    labels = _read(path)
    if not isinstance(labels, np.ndarray):
        raise ValueError(f"Labels must be one array, as `np.save` writes it. Received: {path}")
    return labels


def _archive(path: str) -> dict[str, np.ndarray]:
    data = _read(path)
    if isinstance(data, np.ndarray):
        raise ValueError(
            f"Data must be an archive, `np.savez('data.npz', x=x, y=y)`. Received: {path}, which "
            f"holds one array."
        )
    return data


def _read(path: str) -> Any:
    """An array, or a dictionary of them."""
    try:
        read = np.load(path, allow_pickle=False)
        if isinstance(read, np.ndarray):
            return read
        with read:
            return {name: read[name] for name in read.files}
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {_first_line(error)}") from error
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read: it must be a file of `np.save` or `np.savez` that holds "
            f"numbers. Python objects are not loaded, for that would run code."
        ) from error


def _entries(data: dict[str, np.ndarray], name: str, path: str) -> Any:
    """The array of that name, or a dictionary of those that are called `name_…`."""
    if name in data:
        return data[name]
    parts = {key[2:]: value for key, value in data.items() if key.startswith(f"{name}_")}
    if not parts:
        raise ValueError(
            f"{path} must hold an array {name!r}, or {name}_NAME for each "
            f"{'input' if name == 'x' else 'output'}. It holds: {', '.join(data) or 'nothing'}."
        )
    return parts


def _first_line(error: Exception) -> str:
    """What went wrong, without the layers through which Keras says it went and the colours."""
    text = re.sub(r"Exception encountered when calling .*|\x1b\[\d*m", "", str(error))
    return text.strip().split("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
