"""The race from gradient descent to Adam: the same for all, from the same start, and repeatable."""

import itertools

import fashion_mnist_data
import numpy as np
import pytest
import style
from keras import ops

from examples import lineage as example
from keras_optim_losses import losses, optimizers

EFFORT = example.Effort(images=120, batch_size=40, updates=6, rates=(0.001, 0.1, 1e30), seeds=2)


@pytest.fixture(scope="module")
def problem():
    return example.make_problem(fashion_mnist_data.read_subset(), EFFORT)


def test_worked_numbers_come_out_as_by_hand():
    numbers = example.worked_numbers()
    by_hand = [0.3, 0.75, 0.4, 0.4, 4, 16, -0.1, 0.1, -0.5, -1, 9, 0, -3, -12]
    assert [number.by_hand for number in numbers] == by_hand
    for number in numbers:
        # Weights are float32, and ε is 1e-7 of a gradient of 1.
        assert number.computed == pytest.approx(number.by_hand, rel=1e-5, abs=1e-7), number.claim


def test_images_are_halved_by_means(problem):
    data = fashion_mnist_data.read_subset()
    assert problem.images.shape == (120, 196) and problem.test_images.shape == (1000, 196)
    corner = data.train_images[5, 12:14, 16:18].astype(float).mean() / 255
    assert problem.images[5].reshape(14, 14)[6, 8] == pytest.approx(corner, rel=1e-6)
    assert 0 <= problem.images.min() and 0.5 < problem.images.max() <= 1


def test_every_pass_sees_each_image_once_in_an_order_of_its_own(problem):
    given = list(itertools.islice(example.batches(problem, 40, seed=3), 6))
    passes = [np.concatenate([images for images, _ in half]) for half in (given[:3], given[3:])]
    sums = [np.sort(each.sum(axis=1)) for each in passes]
    for each in sums:
        np.testing.assert_array_equal(each, np.sort(problem.images.sum(axis=1)))
    assert not np.array_equal(*passes)
    again = next(example.batches(problem, 40, seed=3))
    np.testing.assert_array_equal(again[0], given[0][0])
    assert not np.array_equal(next(example.batches(problem, 40, seed=4))[0], given[0][0])


def test_all_start_from_the_same_weights(problem):
    one, other = (example.Trainer(name, problem, EFFORT) for name in ("SGD", "Adam"))
    for a, b in zip(one.starts, other.starts):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)
    assert not np.array_equal(one.starts[0][0], one.starts[1][0])
    # With a rate of 0 nothing moves: the loss stays that of the start.
    model = example.make_model(seed=1)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = float(ops.convert_to_numpy(loss(problem.labels, model(problem.images))))
    np.testing.assert_allclose(one.run(0.0, 1, [1, 6]).loss, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["Momentum", "Adam"])
def test_a_run_does_not_depend_on_those_before(name, problem):
    trainer = example.Trainer(name, problem, EFFORT)
    first = trainer.run(0.01, 0, [1, 3, 6])
    trainer.run(0.1, 1, [6])
    again = trainer.run(0.01, 0, [1, 3, 6])
    np.testing.assert_array_equal(first.loss, again.loss)
    assert first.loss[-1] < first.loss[0]
    assert 0 < first.seconds_an_update < 60 and list(first.updates) == [1, 3, 6]


def test_a_run_is_what_fit_does(problem):
    """The same updates by `fit`, which Keras runs, in the same order of batches."""
    trainer = example.Trainer("RMSprop", problem, EFFORT)
    run = trainer.run(0.01, 1, [6])
    given = list(itertools.islice(example.batches(problem, 40, seed=1), 6))
    images, labels = (np.concatenate(part) for part in zip(*given))
    model = example.make_model(seed=1)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.RMSprop(0.01), loss)
    model.fit(images, labels, batch_size=40, shuffle=False, verbose=0)
    expected = float(ops.convert_to_numpy(loss(problem.labels, model(problem.images))))
    assert run.loss[-1] == pytest.approx(expected, rel=1e-5)
    said = ops.convert_to_numpy(model(problem.test_images)).argmax(axis=1)
    assert run.test_accuracy == pytest.approx(np.mean(said == problem.test_labels), abs=2e-3)


def test_the_whole_data_in_one_batch_is_gradient_descent_over_all_batches(problem):
    trainer = example.Trainer("GradientDescent", problem, EFFORT)
    run = trainer.run(0.1, 0, [6])
    model = example.make_model(seed=0)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.GradientDescent(0.1, batches_per_update=3), loss)
    model.fit(problem.images, problem.labels, batch_size=40, epochs=6, verbose=0)
    expected = float(ops.convert_to_numpy(loss(problem.labels, model(problem.images))))
    assert run.loss[-1] == pytest.approx(expected, rel=1e-5)


def test_the_best_rate_has_the_lowest_median_and_what_diverged_is_worst():
    final = np.array([[2.0, 2.0, 2.0], [0.1, 1.9, 9.0], [1.0, 1.1, np.inf], [0.1, np.inf, np.inf]])
    assert example.best(final, (1.0, 2.0, 3.0, 4.0)) == 3.0


def test_a_study_races_at_its_best_rate(problem):
    study = example.study("Adam", problem, EFFORT)
    assert study.final.shape == (3, 2) and not np.isnan(study.final).any()
    row = int(np.argmin(np.median(study.final, axis=1)))
    assert study.best_rate == EFFORT.rates[row]
    np.testing.assert_allclose([run.loss[-1] for run in study.race], study.final[row], rtol=1e-6)
    assert (study.final[2] == np.inf).all()  # NaN, by a rate of 10³⁰
    assert study.images_an_update == 40 and 0 < study.seconds_an_update < 60
    assert example.study("GradientDescent", problem, EFFORT).images_an_update == 120


def test_forgiving_counts_powers_of_ten():
    rates = np.logspace(-3, 0, 7)  # two a decade
    final = np.array([[4.0], [1.6], [1.5], [1.2], [1.0], [1.4], [np.inf]])
    assert example.Study("SGD", rates, final, 0.1, [], 1, 0.1).forgiving == pytest.approx(2.0)


def test_every_optimizer_is_drawn_in_its_colour_with_its_rate():
    style.use()
    run = example.Run(np.array([1, 6]), np.array([2.0, 1.0]), 0.7, 0.5)
    final = np.array([[2.0, 2.1], [1.0, 1.2], [np.inf, 9.0]])
    studies = [
        example.Study(name, np.array(EFFORT.rates), final, 0.1, [run, run], 40, 0.1)
        for name in example.NAMES
    ]
    figure = example.draw(studies, EFFORT)
    assert set(example.NAMES) == set(style.OPTIMIZERS)
    for axis in figure.axes:
        colours = {line.get_color() for line in axis.get_lines()}
        assert colours >= {look.colour for look in style.OPTIMIZERS.values()}
        assert len(axis.collections) == len(studies)  # the bands
        assert axis.get_legend() is None and axis.get_xlabel() and axis.get_ylabel()
    by_clock = figure.axes[1].get_lines()[0].get_xdata()
    np.testing.assert_allclose(by_clock, [0.1, 0.6])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == [f"{name}, η = 0.1" for name in example.NAMES]


def test_a_folder_without_data_is_one_clear_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        example.main(["--data-dir", str(tmp_path / "none")])
    assert "--data-dir" in capsys.readouterr().err
