"""The example that trains in two processes, in a short form, and how it ends when one fails."""

import re

import distributed as example
import keras
import pytest
from matplotlib import image

from tests.backend import cluster


def test_two_processes_train_what_one_trains(tmp_path):
    out = tmp_path / "out"
    [told] = cluster.run(("examples/distributed.py", "--quick", "--out", out))
    backend = keras.backend.backend()
    found = re.search(
        rf"Process 0 of 2, {backend}: loss (\S+) after 20 batches, .* by (\S+) at", told
    )
    assert float(found[1]) < 2.0  # chance is 2.3
    # Rounding, in 20 steps of weights around 0.1; half a batch instead of a whole one is 1e-2 off.
    assert float(found[2]) < 1e-5
    assert image.imread(out / "losses.png").shape[0] > 200
    model = keras.models.load_model(out / "model.keras", compile=False)
    assert model.output_shape == (None, 10)
    for name in ("losses.png", "model.keras"):
        assert str(out / name) in told


def test_when_one_fails_the_others_are_ended_and_its_words_are_shown(tmp_path, monkeypatch, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time\n"
        "index = int(sys.argv[-1])\n"
        "time.sleep(0 if index else 60)\n"
        "sys.exit('the second has lost its way')\n"
    )
    monkeypatch.setattr(example, "__file__", str(script))
    assert example.main(["--quick"]) == 1
    assert "process 1:\nthe second has lost its way" in capsys.readouterr().out


def test_processes_that_do_not_end_are_ended(tmp_path, monkeypatch, capsys):
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(example, "__file__", str(script))
    monkeypatch.setattr(example, "PATIENCE", 0.5)
    assert example.main(["--quick"]) == 1
    assert "not come to an end within 0.5 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--optimizer nonsense", "Unknown optimizer: 'nonsense'"),
        ("--steps 0", "must be 1 or more"),
        ("--index 0", "--workers and --index belong together"),
        ("--workers a:1,b:2", "--workers and --index belong together"),
        ("--workers a:1,b:2 --index 2", "must be from 0 to 1, not 2"),
        ("--workers a,b --index 0", "must be HOST:PORT,HOST:PORT"),
        ("--workers a:1,b:2,c:3 --index 0", "cannot be divided among 3 processes"),
    ],
)
def test_wrong_arguments_are_one_clear_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        example.main(arguments.split())
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)
