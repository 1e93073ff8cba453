"""The walks of the pictures: the specification's path, training's path, and the rule for rates."""

import keras
import numpy as np
import pytest
import style
from keras import ops
from PIL import Image, ImageColor

from examples import trajectories as example
from keras_optim_losses import optimizers
from tests.optimizers.trajectories import assert_follows
from tests.reference import optimizers as reference

SPECIFICATION = {
    "SGD": reference.sgd,
    "Momentum": reference.momentum,
    "Adagrad": reference.adagrad,
    "RMSprop": reference.rmsprop,
    "Adam": reference.adam,
}
DTYPE = "float32" if keras.backend.backend() == "jax" else "float64"
SMALL = example.Effort(steps=20, rates_a_decade=2, others=3)
SCENES = example.scenes()


@pytest.mark.parametrize("name", SCENES)
def test_gradients_are_those_of_the_loss(name):
    surface = SCENES[name].surface
    points = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    h = 1e-5
    for coordinate in (0, 1):
        step = h * np.eye(2)[coordinate]
        difference = (surface.loss(points + step) - surface.loss(points - step)) / (2 * h)
        gradient = surface.gradient(points)[:, coordinate]
        np.testing.assert_allclose(gradient, difference, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", SCENES)
def test_minima_are_minima_and_in_the_picture(name):
    scene = SCENES[name]
    minima = scene.surface.minima
    assert (scene.surface.loss(minima) < 1e-9).all()
    left, right, below, above = scene.window
    for x, y in [*minima, scene.start]:
        assert left < x < right and below < y < above
    around = minima[:, None] + 0.01 * np.random.default_rng(0).normal(size=(1, 20, 2))
    assert (scene.surface.loss(around) > 0).all()


@pytest.mark.parametrize("scene", ["ravine_rotated", "rosenbrock", "saddle_noisy"])
@pytest.mark.parametrize("name", example.NAMES)
def test_paths_are_those_of_the_specification(name, scene):
    scene = SCENES[scene]
    starts, noise = example.draws(scene, SMALL)
    rates = np.array([1e-4, 1e-3, 2e-3])
    optimizer = getattr(optimizers, name)()
    walk = example.walk(optimizer, scene.surface.gradient, starts, rates, noise)
    assert walk.weights.shape == (SMALL.steps + 1, 3, SMALL.others + 1, 2)
    for i, rate in enumerate(rates):
        for j, start in enumerate(starts):
            # The gradients were taken where the walk had come to.
            path, gradients = walk.weights[:, i, j], walk.gradients[:, i, j]
            given = scene.surface.gradient(path[:-1]) + noise[:, j]
            np.testing.assert_allclose(gradients, given, rtol=1e-12, atol=1e-12)
            expected = SPECIFICATION[name](start, gradients, rate)
            assert_follows(path[1:], expected, DTYPE)


@pytest.mark.parametrize("name", example.NAMES)
def test_paths_and_state_are_those_of_training(name):
    scene, rate = SCENES["rosenbrock"], 1e-3
    starts, noise = example.draws(scene, SMALL)
    optimizer = getattr(optimizers, name)(rate)
    walk = example.walk(
        optimizer, scene.surface.gradient, starts, np.array([rate / 2, rate]), noise
    )
    weight = keras.Variable(np.array(scene.start), dtype=DTYPE)
    for step in range(SMALL.steps):
        at = ops.convert_to_numpy(weight.value).astype("float64")
        gradient = scene.surface.gradient(at) + noise[step, 0]
        optimizer.apply([ops.convert_to_tensor(gradient, dtype=DTYPE)], [weight])
        unit = 1e-5 if DTYPE == "float32" else 1e-12
        now = ops.convert_to_numpy(weight.value)
        np.testing.assert_allclose(now, walk.weights[step + 1, 1, 0], rtol=unit, atol=unit)
    # After the count and the rate come the slots.
    kept = [ops.convert_to_numpy(variable.value) for variable in optimizer.variables[2:]]
    assert len(kept) == len(walk.slots) == len(optimizer.slots)
    for (slot, path), held in zip(walk.slots.items(), kept):
        np.testing.assert_allclose(path[-1, 1, 0], held, rtol=1e-4, err_msg=slot)


@pytest.mark.parametrize("name", example.NAMES)
def test_the_three_strips_say_how_the_step_comes_out(name):
    """η times the first over the second is the third, as the picture says."""
    shown = example.pick(name, SCENES["ravine"], SMALL)
    first, divisor, step = example.inner(shown).values()
    atol = 1e-6 if DTYPE == "float32" else 1e-12
    np.testing.assert_allclose(shown.rate * np.abs(first) / divisor, step, rtol=1e-4, atol=atol)
    assert step[0].max() > 1e-3


def test_turned_the_ravine_is_the_same_for_sgd_and_momentum_only():
    turn = example.rotation(45)
    differs = {}
    for name in example.NAMES:
        paths = []
        for scene in (SCENES[key] for key in example.RACE):
            walk = example.walk(
                getattr(optimizers, name)(),
                scene.surface.gradient,
                np.array([scene.start]),
                np.array([0.01]),
                np.zeros((30, 1, 2)),
            )
            paths.append(walk.weights[:, 0, 0])
        differs[name] = np.abs(paths[0] @ turn.T - paths[1]).max()
    tiny = 1e-4 if DTYPE == "float32" else 1e-11
    assert differs["SGD"] < tiny and differs["Momentum"] < tiny
    assert min(differs[name] for name in ("Adagrad", "RMSprop", "Adam")) > 0.01


def test_the_shown_start_is_not_among_those_that_judge():
    for scene in SCENES.values():
        starts, noise = example.draws(scene, SMALL)
        np.testing.assert_array_equal(starts[0], scene.start)
        off = np.abs(starts[1:] - scene.start).max(axis=1)
        assert (off > 0).all() and (off <= 0.1 * scene.reach).all()
        assert noise.shape == (SMALL.steps, SMALL.others + 1, 2)
        assert noise.std() == pytest.approx(scene.noise, rel=0.3)
        again = example.draws(scene, SMALL)  # the same for every optimizer
        np.testing.assert_array_equal(again[1], noise)


def test_the_score_is_what_the_pictures_print():
    scene = example.Scene("", example.ravine(0), (1.0, 0.0), (0.0, 0.0), 1.5)
    at = {"start": (1.0, 0.0), "tenth": (np.sqrt(0.1), 0.0), "far": (9.0, 0.0), "minimum": (0, 0)}
    # Walks of two points, one walk for each of five rates, a second walk that stays at the start.
    ends = ["start", "tenth", "far", "minimum"]
    weights = np.array([[[at["start"]] * 2] * 4, [[at[end], at["start"]] for end in ends]])
    # log₁₀ f is 0 at the start, −1 at a tenth, −6 at the minimum; halved by points and by walks.
    np.testing.assert_allclose(example.score(scene, weights), [0, -0.25, np.inf, -1.5], atol=1e-12)
    weights[1, 0, 0] = np.nan
    assert example.score(scene, weights)[0] == np.inf


@pytest.mark.parametrize("scene", ["ravine", "saddle_noisy"])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_the_picked_rate_is_the_best_by_an_independent_count(name, scene):
    """Each rate and start by itself, by the specification, one step after the other."""
    scene = SCENES[scene]
    starts, noise = example.draws(scene, SMALL)
    left, right, below, above = scene.window
    means = []
    for rate in SMALL.rates:
        logs, inside = [], True
        for start, off in zip(starts[1:], noise.swapaxes(0, 1)[1:]):
            path, gradients = [start], []
            for step in range(SMALL.steps):
                if not np.isfinite(path[-1]).all() or np.abs(path[-1]).max() > 1e6:
                    break
                gradients.append(scene.surface.gradient(path[-1]) + off[step])
                path.append(SPECIFICATION[name](start, gradients, rate)[-1])
            for x, y in path:
                inside &= bool(left <= x <= right and below <= y <= above)
                share = scene.surface.loss(np.array([x, y])) / scene.at_start
                logs.append(np.log(max(share, 1e-6)))
        means.append(np.mean(logs) if inside else np.inf)
    shown = example.pick(name, scene, SMALL)
    assert shown.rate == SMALL.rates[int(np.argmin(means))]
    np.testing.assert_array_equal(shown.walk.weights[0], scene.start)
    assert len(set(np.isinf(means))) == 2  # some rates leave the picture, some do not


def test_no_rate_that_stays_in_the_picture_is_an_error():
    scene = example.Scene("Tiny", example.ravine(0), (1.0, 0.0), (1.0, 0.0), 1e-9, noise=1.0)
    with pytest.raises(ValueError, match="SGD leaves the picture of 'Tiny' with each of 11 rates"):
        example.pick("SGD", scene, SMALL)


@pytest.mark.parametrize(
    "loss, steps", [([100, 2, 0.5, 0.1], 2), ([100, 0.5, 2, 0.1], 3), ([100, 0.5, 1.0], None)]
)
def test_steps_to_one_percent_counts_until_it_stays_there(loss, steps):
    shown = example.Shown("SGD", 1.0, None, np.array(loss, float), None)
    assert shown.steps_to_one_percent == steps


def test_every_panel_has_the_path_of_sgd_and_every_picture_the_rule():
    style.use()
    scene = SCENES["himmelblau"]
    walks = [example.pick(name, scene, SMALL) for name in example.NAMES]
    figure = example.draw(scene, walks, SMALL)
    grey = style.OPTIMIZERS["SGD"].colour
    for shown in walks:
        (panel,) = (axis for axis in figure.axes if axis.get_title(loc="left") == shown.name)
        lines = {line.get_color(): line.get_xydata() for line in panel.get_lines()}
        np.testing.assert_array_equal(lines[grey], walks[0].walk.weights)
        colour = style.OPTIMIZERS[shown.name].colour
        np.testing.assert_array_equal(lines[colour], shown.walk.weights)
    assert not any(axis.get_legend() for axis in figure.axes)
    printed = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    rule = " ".join(example.rule_text(SMALL).split())
    assert rule in printed and "the same 11 from 10⁻⁴ to 10" in rule and "20 steps" in rule


def test_the_race_has_a_frame_for_each_step_and_the_rule(tmp_path):
    style.use()
    pair = {
        name: (SCENES[name], [example.pick(n, SCENES[name], SMALL) for n in example.NAMES])
        for name in example.RACE
    }
    example.animate(pair, tmp_path / "race.gif", SMALL, every=4)
    with Image.open(tmp_path / "race.gif") as animation:
        assert animation.n_frames == 6 and animation.size == (900, 640)
        frames = []
        for number in (0, 5):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB")).reshape(-1, 3))
    adam = np.array(ImageColor.getrgb(style.OPTIMIZERS["Adam"].colour))
    drawn = [int((np.abs(frame - adam.astype(int)).sum(axis=1) < 30).sum()) for frame in frames]
    assert drawn[1] > 2 * drawn[0] > 0  # the walk grows, from its head and its entry in the legend


def test_an_unknown_scene_is_one_clear_line(capsys):
    with pytest.raises(SystemExit):
        example.main(["--scene", "cliff"])
    assert "invalid choice: 'cliff'" in capsys.readouterr().err
