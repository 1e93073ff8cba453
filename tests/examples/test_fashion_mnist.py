"""The main example in a short form: every loss, every optimizer, and what it leaves behind."""

import re

import fashion_mnist as example
import fashion_mnist_data
import keras
import numpy as np
import pytest
from matplotlib import image

RUNS = [
    ("sparse_categorical", "Adam", "mlp"),
    ("categorical", "rmsprop", "cnn"),
    ("binary", "MOMENTUM", "mlp"),
    ("mse", "sgd", "mlp"),
    ("sparse_categorical", "adagrad", "mlp"),
    ("categorical", "GradientDescent", "mlp"),
]


@pytest.fixture(autouse=True)
def subset(monkeypatch):
    """The embedded images on every machine, so that the test is the same on all."""
    monkeypatch.setattr(example, "load", lambda folder: fashion_mnist_data.read_subset())


@pytest.mark.parametrize("loss, optimizer, model", RUNS)
def test_trains_draws_saves_and_goes_on(loss, optimizer, model, tmp_path, capsys):
    arguments = f"--loss {loss} --optimizer {optimizer} --model {model} --epochs 3 --limit 2000"
    assert example.main([*arguments.split(), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "its accuracy is not that of Fashion-MNIST" in told
    assert "the 2000 predictions are the same" in told
    assert "their weights are the same, bit for bit" in told
    accuracy = float(told.split("accuracy ")[-1].split(",")[0].split()[0])
    assert accuracy > 0.5  # chance is 0.1
    for name in ("curves", "predictions", "overview"):
        picture = image.imread(tmp_path / f"{name}.png")
        assert picture.shape[0] > 300 and picture.shape[1] > 400
        assert picture[..., :3].std() > 0.1  # something is drawn
        assert f"{name}.png" in told
    assert type(keras.models.load_model(tmp_path / "model.keras").loss).__module__.startswith(
        "keras_o"
    )


def test_a_quick_run_is_one_epoch_of_few_images(tmp_path, capsys):
    assert example.main(["--quick", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "5,000 images to train" in told and "Trained 1 epochs" in told


def test_accuracy_is_the_largest_output_and_answers_are_above_zero():
    task = example.tasks()["binary"]
    model = keras.Sequential([keras.Input((10,)), keras.layers.Identity()])
    example.compile_model(model, task, keras.optimizers.SGD())
    logits = np.full((2, 10), -1.0, "float32")
    logits[0, 3] = 0.4  # a "yes", if below 0.5
    logits[1, :] = np.arange(10) - 20.0  # all "no", and 9 the largest
    results = model.evaluate(logits, np.eye(10)[[3, 9]], verbose=0, return_dict=True)
    assert results["accuracy"] == 1.0
    assert results["answers_right"] == pytest.approx(19 / 20)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--optimizer nonsense", "Unknown optimizer: 'nonsense'.*GradientDescent"),
        ("--epochs 0", "must be 1 or more"),
        ("--limit 9", "must be 10 or more"),
        ("--learning-rate nan", "must be 0 or more"),
        ("--loss hinge", "invalid choice"),
    ],
)
def test_wrong_arguments_are_one_clear_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        example.main(arguments.split())
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)
