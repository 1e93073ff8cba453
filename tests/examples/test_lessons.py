"""What the lessons say holds, and each of them runs and draws in its short form."""

import importlib
import json
import re
from pathlib import Path

import binary_crossentropy
import categorical_crossentropy
import cnn
import deepobs
import embeddings
import gan
import keras
import lesson
import loss_and_gradient
import mean_squared_error
import numpy as np
import pytest
import rnn
import sparse_categorical_crossentropy
from fashion_mnist_data import read_subset
from mosaics import mosaics
from PIL import Image

from keras_optim_losses import losses

EXAMPLES = Path(lesson.__file__).parent
HELPERS = {"fashion_mnist_data", "lesson", "mosaics", "style"}
HAVE_TESTS_OF_THEIR_OWN = {
    "callbacks",
    "distributed",
    "family_tree",
    "fashion_mnist",
    "lineage",
    "trajectories",
}
EVERY = {path.stem for path in EXAMPLES.glob("*.py")} - HELPERS
LESSONS = sorted(EVERY - HAVE_TESTS_OF_THEIR_OWN)
PICTURES = sorted((EXAMPLES / "pictures").iterdir())
LARGEST = {".png": 200_000, ".gif": 2_000_000}
# What a short run has to print, if it is more than that it ends.
SAYS = {
    "sparse_categorical_crossentropy": (
        r"The same, bit for bit\.\nFrom another start the weights differ by up to 0\.\d*[1-9]"
    ),
}


@pytest.fixture(scope="module")
def data():
    return lesson.thinned(read_subset())


def assert_picture(path):
    """It is decoded whole, is as wide as a column, and shows something."""
    assert path.stat().st_size <= LARGEST[path.suffix], path
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] >= 900, path
    assert pixels.std() > 5, path


@pytest.mark.parametrize("name", LESSONS)
def test_runs_and_draws_in_its_short_form(name, tmp_path, capsys):
    assert importlib.import_module(name).main(["--quick", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    written = re.findall(r"^  (\S+) \([\d,]+ kB\)$", told.split("Wrote:\n")[1], re.M)
    assert re.search(SAYS.get(name, ""), told)
    assert {Path(path) for path in written} == set(tmp_path.iterdir())
    pictures = list(tmp_path.glob("*.png"))
    assert pictures
    for path in pictures:
        assert_picture(path)
        assert (EXAMPLES / "pictures" / path.name).exists()


@pytest.mark.parametrize("name", sorted(EVERY))
def test_all_are_in_the_gallery_and_have_the_same_arguments(name, capsys):
    assert f"[{name}.py]({name}.py)" in (EXAMPLES / "README.md").read_text()
    with pytest.raises(SystemExit):
        importlib.import_module(name).main(["--help"])
    told = capsys.readouterr().out
    assert "--quick" in told and "--out" in told


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_pictures_of_the_repository_are_small_and_in_the_gallery(path):
    assert_picture(path)
    assert f"](pictures/{path.name})" in (EXAMPLES / "README.md").read_text()


def test_mosaics_show_the_garments_of_their_labels(data):
    pictures, quarters = mosaics(data.train_images, data.train_labels, 50, most=3, seed=0)
    garments = (quarters >= 0).sum(axis=(1, 2))
    assert set(garments) == {1, 2, 3}
    for picture, classes in zip(pictures, quarters):
        for row, column in np.ndindex(2, 2):
            part = picture[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
            same = (data.train_images == part).all(axis=(1, 2))
            assert classes[row, column] in (data.train_labels[same] if same.any() else [-1])
            assert same.any() or not part.any()


# Losses


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_loss_and_gradient_by_the_logit():
    z = np.linspace(-10, 10, 11)
    found = loss_and_gradient.curves(z)
    p = np.exp(z) / (np.exp(z) + 9)
    error = 1 - sigmoid(z)
    expected = {
        "BinaryCrossentropy": (np.log1p(np.exp(-z)), -sigmoid(-z)),
        "CategoricalCrossentropy": (-np.log(p), p - 1),
        "SparseCategoricalCrossentropy": (-np.log(p), p - 1),
        "MeanSquaredError, linear output": ((1 - z) ** 2, 2 * (z - 1)),
        "MeanSquaredError behind a sigmoid": (error**2, -2 * error**2 * sigmoid(z)),
    }
    assert found.keys() == expected.keys()
    for name, (values, gradients) in expected.items():
        # log p is a difference of logits up to 10, where float32 has steps of 1e-6.
        np.testing.assert_allclose(found[name][1], values, rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(found[name][2], gradients, rtol=1e-6, atol=1e-6, err_msg=name)


def test_labels_of_pixels_leave_out_the_background():
    quarters = np.array([[[3, -1], [-1, 7]]])
    pictures = np.zeros((1, 56, 56), "uint8")
    pictures[0, 5, 6] = pictures[0, 40, 50] = 9
    labels = sparse_categorical_crossentropy.pixel_labels(pictures, quarters)
    assert labels[0, 5, 6] == 3 and labels[0, 40, 50] == 7
    assert (labels == sparse_categorical_crossentropy.BACKGROUND).sum() == 56 * 56 - 2


def test_a_softmax_given_as_logits_cannot_get_under_the_floor():
    rows = np.eye(10, dtype="float32")
    loss = losses.CategoricalCrossentropy(from_logits=True)
    assert float(loss(rows, rows)) == pytest.approx(categorical_crossentropy.FLOOR, rel=1e-6)


def test_sureness_in_groups_from_unsure_to_sure():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
    p = np.array([0.9, 0.6, 0.8, 0.7])
    logits = np.stack([np.log(p / (1 - p)), np.zeros(4)], axis=1).astype("float32")
    labels = np.array([0, 1, 0, 0])  # wrong where it is least sure
    sure, right = categorical_crossentropy.sureness(model, logits, labels, bins=2)
    np.testing.assert_allclose(sure, [0.65, 0.85], rtol=1e-6)
    np.testing.assert_array_equal(right, [0.5, 1.0])


def test_questions_of_binary_crossentropy():
    truth = np.array([True, True, True, False, False])
    yes = np.array([True, True, False, True, False])
    assert binary_crossentropy.recall_and_precision(yes, truth) == (2 / 3, 2 / 3)
    assert binary_crossentropy.recall_and_precision(~truth & False, truth) == (0, 0)
    labels = binary_crossentropy.multi_hot(np.array([[[2, -1], [2, 9]]]))
    np.testing.assert_array_equal(np.flatnonzero(labels[0]), [2, 9])
    p = np.where(labels > 0, 0.6, 0.4)
    assert binary_crossentropy.all_right(p, labels, 0.5).tolist() == [True]
    assert binary_crossentropy.all_right(p, labels, 0.7).tolist() == [False]


def test_squared_error_lets_go_of_what_it_is_surely_wrong_about():
    biases = np.array([0.0, 8.0, 16.0])
    norms = mean_squared_error.gradient_norms(biases)
    p = np.exp(np.outer(biases, np.eye(10)[0]))
    p /= p.sum(axis=1, keepdims=True)
    errors = p - np.eye(10)[1]
    # ∂/∂z mean (p − y)² = 2/10 p (e − Σ p e), for e = p − y
    squared = 0.2 * p * (errors - (p * errors).sum(axis=1, keepdims=True))
    expected = {"cross-entropy": errors, "squared error": squared}
    for name, gradients in expected.items():
        # Terms of the size of 1, which cancel, round at 1.2e-7.
        norm = np.linalg.norm(gradients, axis=1)
        np.testing.assert_allclose(norms[name], norm, rtol=1e-5, atol=1.2e-7, err_msg=name)
    assert norms["squared error"][-1] < 1e-6 < 1 < norms["cross-entropy"][-1]


# Networks


def test_the_rate_of_the_recipe_ends_at_zero_with_the_last_update(data):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    updates = 2 * cnn.batches(1100)
    model.compile(cnn.recipe(updates)[0], losses.MeanSquaredError())
    x = np.ones((1100, 1))
    model.fit(x, x, batch_size=cnn.BATCH, epochs=2, validation_split=0.1, verbose=0)
    assert int(model.optimizer.iterations) == updates
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-8)


def test_an_answer_after_a_row_does_not_know_later_rows(data):
    model = rnn.reader()
    images = data.test_images[:2].astype("float32")
    changed = images.copy()
    changed[:, 20:] = 255 - changed[:, 20:]
    one, other = model.predict(images, verbose=0), model.predict(changed, verbose=0)
    np.testing.assert_array_equal(one[:, :20], other[:, :20])
    assert (one[:, 20:] != other[:, 20:]).any(axis=-1).all()


def changed(model, before):
    return [bool((a != b).any()) for a, b in zip(model.get_weights(), before)]


def test_a_move_of_one_network_leaves_the_other_alone():
    game = gan.Game()
    real = np.zeros((8, 28, 28, 1), "float32")
    for _ in range(2):
        before = [model.get_weights() for model in (game.generator, game.discriminator)]
        game.teach_discriminator(real)
        assert not any(changed(game.generator, before[0]))
        assert all(changed(game.discriminator, before[1]))
        before = [model.get_weights() for model in (game.generator, game.discriminator)]
        game.teach_generator(8)
        assert all(changed(game.generator, before[0]))
        assert not any(changed(game.discriminator, before[1]))


def test_neighbours_are_within_the_window_and_candidates_start_with_one():
    words = [f"word{i}" for i in range(12)]
    rows = {embeddings.row(word, 1000): i for i, word in enumerate(words)}
    assert len(rows) == 12
    # Words as rare as these are all kept.
    count = embeddings.Counter({word: 1 for word in words} | {"other": 10**9})
    pairs = embeddings.neighbours([words], count, 1000)
    distances = {abs(rows[a] - rows[b]) for a, b in pairs.tolist()}
    assert distances == set(range(1, embeddings.WINDOW + 1))
    assert {tuple(pair) for pair in pairs} == {tuple(pair) for pair in pairs[:, ::-1]}
    (chosen, candidates), answers = embeddings.questions(pairs, 50, seed=0)
    assert {*zip(chosen.tolist(), candidates[:, 0].tolist())} <= {*map(tuple, pairs.tolist())}
    np.testing.assert_array_equal(answers[7], [1, 0, 0, 0, 0])


def test_a_lazy_update_changes_the_rows_of_its_batch():
    pairs = np.random.default_rng(0).integers(0, 2_000, (10_000, 2)).astype("int32")
    found = embeddings.compare(pairs, 2_000, updates=3)
    (_, lazy, named), (_, exact, _) = found[True], found[False]
    assert named < exact < 2_000
    # Elsewhere the gradient of an embedding does not name its rows.
    assert lazy == (named if keras.backend.backend() == "tensorflow" else exact)


# DeepOBS


def test_the_network_of_deepobs():
    model = deepobs.network()
    assert model.count_params() == 3_274_634
    kernels, biases = model.get_weights()[::2], model.get_weights()[1::2]
    for kernel, bias in zip(kernels, biases):
        # Cut at two standard deviations, where Keras on PyTorch lets a few in a million through;
        # the deviation of what is left is 0.88 of it.
        assert (np.abs(kernel) > 0.1).mean() < 1e-4
        assert kernel.std() == pytest.approx(0.88 * 0.05, rel=0.1)
        assert (bias == np.float32(0.05)).all()


def test_deepobs_goes_on_where_it_was_interrupted(tmp_path, capsys, monkeypatch):
    def small():
        layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), *layers])

    # What is kept and found again does not depend on the size of the network.
    monkeypatch.setattr(deepobs, "network", small)

    def run(folder, epochs):
        arguments = ["--quick", "--optimizers", "Momentum", "--epochs", epochs]
        assert deepobs.main([*arguments, "--out", str(tmp_path / folder)]) == 0
        return keras.models.load_model(tmp_path / folder / "deepobs_momentum_0.keras")

    whole = run("whole", "2")
    run("parts", "1")
    # As if it was stopped between the results and the model of an epoch.
    path = tmp_path / "parts" / "deepobs.json"
    kept = json.loads(path.read_text())
    kept["runs"]["Momentum, seed 0"].append(99.0)
    path.write_text(json.dumps(kept))
    capsys.readouterr()
    parts = run("parts", "2")
    # What is done, is not done again.
    assert "epoch 1: test accuracy" not in capsys.readouterr().out
    assert path.read_text() == (tmp_path / "whole" / "deepobs.json").read_text()
    for a, b in zip(whole.get_weights(), parts.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_deepobs_does_not_mix_results_of_other_data(tmp_path):
    (tmp_path / "deepobs.json").write_text('{"images": 60000, "runs": {}}')
    with pytest.raises(SystemExit, match="60000 images and not on 640.*--out"):
        deepobs.main(["--quick", "--out", str(tmp_path)])


def test_the_table_and_the_verdict_of_deepobs(tmp_path):
    results = deepobs.Results(tmp_path, 60_000)
    results.runs = {
        "SGD, seed 0": [80.0] * 9 + [90.0],
        "SGD, seed 1": [82.0] * 9 + [91.0],
        "Adam, seed 0": [85.0] * 5,
    }
    told = deepobs.table(results)
    assert "| SGD | 1 | 85.45 ± 1.18 | 81.00 ± 1.41 | -4.45 |" in told
    assert "| SGD | 10 | 90.24 ± 0.74 | 90.50 ± 0.71 | +0.26 |" in told
    assert "| Adam | 5 | 89.67 ± 0.37 | 85.00 | -4.67 |" in told
    assert "| Adam | 10 | 90.99 ± 0.36 | not run |  |" in told
    assert told.count("\n") == 1 + 15
    assert "Ours: SGD 10 epochs with 2 seeds, Adam 5 epochs with 1 seed." in deepobs.what_was_run(
        results
    )
    assert deepobs.verdict(results) == (
        "After 10 epochs all of SGD are within 1.5 points of the published mean."
    )
    results.runs["Adam, seed 0"] = [89.4] * 10
    assert "SGD, Adam are NOT within 1.5" in deepobs.verdict(results)
