"""What the documents show runs: every Python block of the README, every example in a docstring."""

import doctest
import importlib
import os
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_optim_losses

ROOT = Path(__file__).parent.parent
MODULES = [
    module.name
    for module in pkgutil.walk_packages(keras_optim_losses.__path__, "keras_optim_losses.")
    if ".backend" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    failures, _ = doctest.testmod(module)
    assert failures == 0


def test_every_exported_class_and_function_has_an_example():
    for module in (
        keras_optim_losses.optimizers,
        keras_optim_losses.losses,
        keras_optim_losses.callbacks,
    ):
        for name in module.__all__:
            if name not in ("Optimizer", "Loss"):  # which are shown by a subclass
                assert ">>>" in getattr(module, name).__doc__, name


def said(text):
    return " ".join(re.sub(r"-?\d\.\d+", "…", text).split())


def test_python_blocks_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) >= 5
    names: dict = {"x": np.random.rand(256, 28, 28), "y": np.random.randint(0, 10, 256)}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    # What the check says is shown as it is, but for the numbers that come from random weights.
    found = names["losses"].check(names["wrong"], names["x"], names["y"] + 1)
    assert said(repr(found)) in said((ROOT / "README.md").read_text())
    # The model of the README learns with each optimizer and loss that it shows, and was saved.
    assert os.path.exists("model.keras")
    x, y = np.random.rand(64, 28, 28), np.random.randint(0, 10, 64)
    for optimizer in (names["optimizer"], names["Lion"](1e-3)):
        model = names["model"]
        model.compile(optimizer, names["loss"].from_config({"from_logits": True}))
        history = model.fit(x, y, epochs=5, verbose=0).history["loss"]
        assert history[-1] < history[0]
    assert names["Lion"].from_config(names["Lion"](beta_1=0.8).get_config()).beta_1 == 0.8
    value = names["LogCosh"]()(np.ones((2, 3)), np.zeros((2, 3)))
    assert float(value) == pytest.approx(np.log(np.cosh(1)), rel=1e-6)


def test_the_readme_prints_the_commands_that_are_tested():
    text = (ROOT / "README.md").read_text()
    assert '.venv/bin/pip install -e ".[tensorflow,test]" && .venv/bin/python -m pytest' in text
    assert (ROOT / "examples/pictures/fashion_mnist.png").stat().st_size > 10_000
    assert keras_optim_losses.__version__ in (ROOT / "CITATION.cff").read_text()
    assert keras.saving.get_registered_name(keras_optim_losses.losses.Loss).startswith(
        "keras_optim"
    )
