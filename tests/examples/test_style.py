"""The visual language: every optimizer and loss has its own look, and pictures keep it."""

import itertools
from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest
import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from keras_optim_losses import losses, optimizers

PICTURES = Path(__file__).parent.parent.parent / "examples" / "pictures"


def names(module, base):
    members = {name: getattr(module, name) for name in module.__all__}
    return [n for n, m in members.items() if isinstance(m, type) and m is not base]


def test_every_public_optimizer_and_loss_has_a_look():
    assert list(style.OPTIMIZERS) == names(optimizers, optimizers.Optimizer)
    assert sorted(style.LOSSES) == sorted(names(losses, losses.Loss))


# How people without red, green or blue cones see linear RGB: Machado, Oliveira and Fernandes, A
# Physiologically-based Model for Simulation of Color Vision Deficiency, 2009, severity 1.
SIGHT = {
    "all": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour, sight):
    """CIE L*a*b* of a colour as seen."""
    srgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(sight @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ seen / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("looks", [style.OPTIMIZERS, style.LOSSES], ids=["optimizers", "losses"])
def test_colours_can_be_told_apart_by_everybody(looks, sight):
    # A difference of 2 is just noticed side by side; lines apart get six times that at least.
    for (one, a), (other, b) in itertools.combinations(looks.items(), 2):
        distance = np.linalg.norm(lab(a.colour, SIGHT[sight]) - lab(b.colour, SIGHT[sight]))
        assert distance > 12, (one, other, distance)


def test_lines_of_neighbours_differ_in_grey_too():
    for one, other in itertools.combinations(style.OPTIMIZERS.values(), 2):
        brightness = [lab(look.colour, np.eye(3))[0] for look in (one, other)]
        assert one.dashes != other.dashes or abs(np.subtract(*brightness)) > 7


def drawn(layout="none"):
    figure = Figure(figsize=(4, 3), layout=layout)
    axis = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    for height, look in enumerate([*style.OPTIMIZERS.values(), *style.LOSSES.values()]):
        axis.axhline(height, xmax=0.1, color=look.colour, linewidth=3)
    return figure, axis


def test_saved_pictures_keep_the_colours_exactly(tmp_path):
    style.use()
    figure, _ = drawn()
    # More colours than a palette has, so that it must round some.
    red, green = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 90))
    shades = np.stack([red, green, (red + green) / 2], axis=-1)
    figure.add_axes((0.3, 0.1, 0.6, 0.8)).imshow(shades, aspect="auto")
    pixels = np.asarray(Image.open(style.save(figure, tmp_path / "a.png")).convert("RGB"))
    present = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
    for look in [*style.OPTIMIZERS.values(), *style.LOSSES.values()]:
        exact = tuple(round(255 * part) for part in matplotlib.colors.to_rgb(look.colour))
        assert exact in present, look
    assert tuple(pixels[0, 0]) == (255, 255, 255)


def test_a_picture_too_large_is_drawn_coarser_and_else_an_error(tmp_path, monkeypatch):
    style.use()
    figure, axis = drawn()
    before = axis.get_position().bounds
    fine = style.save(figure, tmp_path / "fine.png").stat().st_size
    monkeypatch.setattr(style, "LARGEST", fine - 1)
    with Image.open(style.save(figure, tmp_path / "coarse.png")) as coarse:
        assert coarse.size == (4 * 120, 3 * 120)
    # A figure that places its axes itself is not laid out anew when it is drawn again.
    assert axis.get_position().bounds == before
    monkeypatch.setattr(style, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"none.png would take [\d,]+ bytes, more than 100"):
        style.save(figure, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_names_at_the_ends_of_lines_do_not_overlap():
    style.use()
    figure = Figure()
    axis = figure.subplots()
    ends = {"a": 0.99, "b": 1.0, "c": 0.98, "d": 0.1, "unnamed": 0.5}
    for name, end in ends.items():
        axis.plot([0, 1], [0, end], label=name)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    style.label_lines(axis, {name: name.upper() for name in "abcd"})
    FigureCanvasAgg(figure).draw()
    texts = sorted(axis.texts, key=lambda text: text.get_position()[1])
    # In the order of the ends, inside the axis, each in the colour of its line.
    assert [text.get_text() for text in texts] == ["D", "C", "A", "B"]
    colours = {line.get_label().upper(): line.get_color() for line in axis.get_lines()}
    assert all(text.get_color() == colours[text.get_text()] for text in texts)
    heights = [text.get_position()[1] for text in texts]
    assert min(heights) == pytest.approx(0.1) and max(heights) <= 1
    extents = [text.get_window_extent() for text in texts]
    for below, above in itertools.pairwise(extents):
        assert below.y1 <= above.y0
    assert all(axis.bbox.x1 < extent.x0 and extent.x1 <= figure.bbox.x1 for extent in extents)


def test_frames_of_an_animation_share_their_colours(tmp_path):
    frames = []
    for end in (1, 4):
        frame = np.full((20, 40, 3), 255, "uint8")
        frame[5:15, : 5 * end] = (0, 114, 178)
        frames.append(Image.fromarray(frame))
    path = style.save_animation(frames, tmp_path / "a.gif", milliseconds=50)
    with Image.open(path) as animation:
        assert animation.n_frames == 2 and animation.info["loop"] == 0
        for number, frame in enumerate(frames):
            animation.seek(number)
            np.testing.assert_array_equal(np.asarray(animation.convert("RGB")), np.asarray(frame))
        assert animation.info["duration"] == 3000


def test_pictures_in_the_repository_are_small():
    pictures = [*PICTURES.glob("*.png"), *PICTURES.glob("*.gif")]
    assert len(pictures) > 5
    for picture in pictures:
        limit = 2_000_000 if picture.suffix == ".gif" else style.LARGEST
        assert picture.stat().st_size <= limit, picture.name
