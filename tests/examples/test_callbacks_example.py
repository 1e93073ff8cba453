"""The lesson of the callbacks: what it finds is what it says, and it writes its pictures."""

import fashion_mnist_data
import numpy as np
import pytest
import style

from examples import callbacks as example

EFFORT = example.Effort(images=600, steps=40, rates=(1e-4, 0.1), epochs=1, deep_epochs=2)


@pytest.fixture(scope="module")
def problem():
    return example.make_problem(fashion_mnist_data.read_subset(), EFFORT)


def test_images_are_of_every_class(problem):
    assert problem.images.shape == (600, 28, 28) and problem.images.max() <= 1
    assert set(problem.labels) == set(range(10))


def test_all_rates_start_from_the_same_weights(problem):
    found = example.search("SGD", problem, EFFORT)
    again = example.search("SGD", problem, EFFORT)
    assert found.final == again.final and found.finder.losses == again.finder.losses
    slow, right = found.final
    assert right < slow
    assert 1e-3 < found.finder.suggestion < 1


def test_adam_moves_the_first_layer_and_sgd_does_not(problem):
    ratios = {}
    for name in ("SGD", "Adam"):
        history = example.look_into(name, problem, EFFORT)
        first, last = (history[f"update_ratio/{layer}"][-1] for layer in ("hidden_1", "output"))
        ratios[name] = first / last
    assert ratios["SGD"] < 1e-2 < 0.3 < ratios["Adam"]


def test_it_draws_both_pictures(tmp_path, capsys):
    assert example.main(["--quick", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for name in ("learning_rate_finder.png", "update_monitor.png"):
        assert name in printed.partition("Wrote:")[2]
        assert 10_000 < (tmp_path / name).stat().st_size <= style.LARGEST


def test_a_curve_is_in_the_colour_of_its_optimizer(problem):
    found = example.search("Adam", problem, EFFORT)
    (axis,) = example.draw_searches({"Adam": found}, EFFORT).axes
    raw, smoothed, suggestion, final, _ = axis.get_lines()
    np.testing.assert_array_equal(raw.get_ydata(), found.finder.losses)
    assert smoothed.get_color() == final.get_color() == style.OPTIMIZERS["Adam"].colour
    assert suggestion.get_xdata()[0] == found.finder.suggestion


def test_a_folder_without_the_data_is_an_error(capsys):
    with pytest.raises(SystemExit):
        example.main(["--data-dir", "/nowhere"])
    assert "/nowhere" in capsys.readouterr().err
