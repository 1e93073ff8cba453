"""The command line: what it prints, its exit status, and that no code in a file is run."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_optim_losses import losses
from keras_optim_losses.__main__ import main
from tests.losses.advice.right import classes, compiled, dense, vectors

SCCE = losses.SparseCategoricalCrossentropy


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a model and its data, right and wrong."""
    monkeypatch.chdir(tmp_path)
    x, y = vectors(), classes(3, 64)
    compiled(dense(3), SCCE(from_logits=True), optimizer="sgd").save("model.keras")
    np.savez("right.npz", x=x, y=y)
    np.savez("wrong.npz", x=x, y=y + 1)
    np.savez("weighted.npz", x=x, y=y + 1, sample_weight=(y < 2).astype("float32"))
    np.save("labels.npy", y)
    return tmp_path


def test_check_says_what_the_function_says(files, capsys):
    assert main(["check", "model.keras", "right.npz"]) == 0
    assert capsys.readouterr().out == "Labels, output and loss fit: nothing was found.\n"
    assert main(["check", "model.keras", "wrong.npz"]) == 1
    found = losses.check(keras.saving.load_model("model.keras"), vectors(), classes(3, 64) + 1)
    assert capsys.readouterr().out == f"{found}\n"
    assert main(["check", "model.keras", "weighted.npz"]) == 0


def test_a_warning_is_no_error(files, capsys):
    compiled(dense(3, activation="sigmoid"), SCCE()).save("model.keras")
    assert main(["check", "model.keras", "right.npz"]) == 0
    assert capsys.readouterr().out.startswith("WARNING sigmoid-with-categorical")


def test_several_inputs_and_outputs(files, capsys):
    inputs = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    both = layers.Add()(list(inputs.values()))
    outputs = {name: layers.Dense(2, name=name)(both) for name in ("size", "kind")}
    model = keras.Model(inputs, outputs)
    compiled(model, {"size": "mse", "kind": SCCE(from_logits=True)}).save("model.keras")
    y = classes(2, 64) + 1
    np.savez("data.npz", x_left=vectors(), x_right=vectors(), y_size=vectors(64, 2), y_kind=y)
    assert main(["check", "model.keras", "data.npz"]) == 1
    assert capsys.readouterr().out.startswith("ERROR label-out-of-range (output 'kind')")


def test_recommend_says_what_the_function_says(files, capsys):
    assert main(["recommend", "labels.npy"]) == 0
    assert capsys.readouterr().out == f"{losses.recommend(classes(3, 64))}\n"
    compiled(dense(3, activation="softmax"), SCCE()).save("model.keras")
    assert main(["recommend", "labels.npy", "model.keras"]) == 0
    assert "losses.SparseCategoricalCrossentropy()" in capsys.readouterr().out


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("trace",)


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ([], ["required: command"]),
        (["train"], ["invalid choice", "check"]),
        (["check", "model.keras"], ["required: data.npz"]),
        (["check", "no.keras", "right.npz"], ["no.keras", "cannot be read"]),
        (["check", "model.h5", "right.npz"], ["ends in .keras", "model.h5"]),
        (["check", "broken.keras", "right.npz"], ["broken.keras", "cannot be read"]),
        (["check", "lambda.keras", "right.npz"], ["lambda.keras", "Lambda", "losses.check"]),
        (["check", "bare.keras", "right.npz"], ["compiled"]),
        (["check", "model.keras", "no.npz"], ["no.npz", "cannot be read"]),
        (["check", "model.keras", "labels.npy"], ["labels.npy", "np.savez"]),
        (["check", "model.keras", "bomb.npz"], ["bomb.npz", "Python objects are not loaded"]),
        (["check", "model.keras", "named.npz"], ["named.npz", "'x'", "x_NAME", "images, labels"]),
        (["check", "model.keras", "narrow.npz"], ["incompatible", "(32, 2)"]),
        (["check", "model.keras", "short.npz"], ["same number of samples"]),
        (["recommend", "no.npy"], ["no.npy", "cannot be read"]),
        (["recommend", "bomb.npy"], ["bomb.npy", "Python objects are not loaded"]),
        (["recommend", "text.npy"], ["text.npy", "np.save"]),
        (["recommend", "words.npy"], ["numbers", "np.unique"]),
        (["recommend", "right.npz"], ["right.npz", "one array"]),
        (["recommend", "labels.npy", "lambda.keras"], ["lambda.keras", "Lambda"]),
    ],
)
def test_bad_usage_exits_with_2_and_says_why(files, capsys, arguments, parts):
    Path("broken.keras").write_text("no model")
    Path("text.npy").write_text("no array")
    keras.Sequential([keras.Input((4,)), layers.Dense(3)]).save("bare.keras")
    end = layers.Lambda(lambda x: x, output_shape=(3,))
    compiled(keras.Sequential([dense(3), end]), "mse").save("lambda.keras")
    np.savez("bomb.npz", x=np.array([Bomb()], "object"), y=np.ones(1))
    np.save("bomb.npy", np.array([Bomb()], "object"))
    np.savez("named.npz", images=vectors(), labels=classes(3, 64))
    np.savez("narrow.npz", x=vectors(64, 2), y=classes(3, 64))
    np.savez("short.npz", x=vectors(), y=classes(3, 63))
    np.save("words.npy", np.array(["cat", "dog"]))
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("usage: python -m keras_optim_losses")
    for part in parts:
        assert part in message
    assert not Path("trace").exists()


def test_the_module_runs_as_a_command(files):
    command = [sys.executable, "-m", "keras_optim_losses", "check", "model.keras", "wrong.npz"]
    path = str(Path(losses.__file__).parents[2])
    result = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert result.returncode == 1
    assert result.stdout.startswith("ERROR label-out-of-range\n  The labels go from 1 to 3.")
