"""One visual language for every picture: an optimizer has the same colour and line everywhere.

The colours of optimizers are from the palette of Okabe and Ito, those of losses from Tol's muted
one: people who see no red or no green can tell both apart, and the dashes help everybody in grey.
Pictures are drawn for a column of 900 pixels, at 1.4 times the resolution.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageColor

WIDTH = 9.0  # inches; at 100 pixels an inch that is the column
DPI = 140
LARGEST = 200_000  # bytes of a picture in the repository

INK = "#333333"
FAINT = "#777777"

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
)


@dataclass(frozen=True)
class Look:
    """How a line is drawn: give it to Matplotlib as `**look.line`."""

    colour: str
    dashes: Any = "-"

    @property
    def line(self) -> dict[str, Any]:
        return {"color": self.colour, "linestyle": self.dashes}


# SGD is grey: in most pictures it is what the others are compared with.
OPTIMIZERS = {
    "GradientDescent": Look(BLACK, (0, (1, 1))),
    "SGD": Look("#A0A0A0"),
    "Momentum": Look(BLUE),
    "Adagrad": Look(ORANGE, (0, (6, 1.5))),
    "RMSprop": Look(GREEN, (0, (4, 1, 1, 1))),
    "Adam": Look(VERMILION),
}

# The sparse form is the same curve as the categorical one: dashes that can lie on top of it.
LOSSES = {
    "BinaryCrossentropy": Look("#AA4499"),
    "CategoricalCrossentropy": Look("#332288"),
    "SparseCategoricalCrossentropy": Look("#88CCEE", (0, (3, 3))),
    "MeanSquaredError": Look("#999933"),
}


def use() -> None:
    """Set Matplotlib's defaults for all figures that follow."""
    matplotlib.rcParams.update(matplotlib.rcParamsDefault)
    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "figure.figsize": (WIDTH, 5.0),
            "figure.dpi": DPI,
            "figure.constrained_layout.use": True,
            "font.size": 9.5,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "figure.titlesize": 13,
            "figure.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E6E6E6",
            "grid.linewidth": 0.7,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "text.color": INK,
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "legend.fontsize": 9,
        }
    )


def legend_below(figure: Figure, handles: list[Artist], columns: int | None = None) -> None:
    """A legend under all axes, where it covers no data."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns or len(handles))


def label_lines(axis: Axes, names: dict[str, str], gap: float = 0.055) -> None:
    """Names at the right ends of lines, in their colours, moved apart where they would overlap.

    Args:
        axis: with the lines drawn and its limits set.
        names: the text for each line's label; lines without one stay unnamed.
        gap: the least distance of two names, as a share of the axis' height.
    """
    to_share = (axis.transData + axis.transAxes.inverted()).transform
    ends = []
    for line in axis.get_lines():
        if line.get_label() in names:
            x, y = line.get_data()
            share = float(to_share((x[-1], y[-1]))[1])
            ends.append((min(max(share, 0.0), 1.0), line))
    ends.sort(key=lambda end: end[0])
    heights: list[float] = []
    for share, _ in ends:
        heights.append(max(share, heights[-1] + gap) if heights else share)
    # What was pushed over the top comes back down, and pushes those below it.
    for i in reversed(range(len(heights))):
        limit = 1.0 if i == len(heights) - 1 else heights[i + 1] - gap
        heights[i] = min(heights[i], limit)
    for (_, line), height in zip(ends, heights):
        axis.text(
            1.01,
            height,
            names[str(line.get_label())],
            color=line.get_color(),
            transform=axis.transAxes,
            va="center",
            fontweight="bold",
        )


def palette(picture: Image.Image, count: int) -> np.ndarray:
    """Colours (count, 3) at most that a picture does with; white and those of lines are exact."""
    looks = [*OPTIMIZERS.values(), *LOSSES.values()]
    exact = [ImageColor.getrgb(colour) for colour in ["#FFFFFF", *(look.colour for look in looks)]]
    found = picture.quantize(count - len(exact)).getpalette() or []
    return np.concatenate([exact, np.reshape(found, (-1, 3))])


def in_palette(picture: Image.Image, colours: np.ndarray) -> Image.Image:
    """The picture in these colours, each pixel in the nearest; a third of the bytes."""
    pixels = np.asarray(picture).astype("int32")
    packed = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    packed, places = np.unique(packed.ravel(), return_inverse=True)
    present = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1)
    nearest = np.abs(present[:, None] - colours).sum(axis=-1).argmin(axis=1).astype("uint8")
    small = Image.fromarray(nearest[places].reshape(pixels.shape[:2]))
    small.putpalette(colours.ravel().tolist())
    return small


def image_of(canvas: FigureCanvasAgg) -> Image.Image:
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG of at most 200 kB, at the finest of three resolutions that allows it.

    Raises:
        ValueError: it is larger even at the coarsest.
    """
    for dpi in (DPI, 120, 100):
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        picture, small = image_of(canvas), io.BytesIO()
        in_palette(picture, palette(picture, 256)).save(small, "png", optimize=True)
        if small.tell() <= LARGEST:
            path.write_bytes(small.getvalue())
            return path
    raise ValueError(
        f"{path.name} would take {small.tell():,} bytes, more than {LARGEST:,}. Draw less, or a "
        f"smaller figure than {figure.get_size_inches()} inches."
    )


def save_animation(frames: list[Image.Image], path: Path, milliseconds: int) -> Path:
    """Write an animated GIF that stays on its last frame for three seconds."""
    # One palette for all frames, from the last, on which everything is: colours do not flicker.
    colours = palette(frames[-1], 128)
    first, *others = [in_palette(frame, colours) for frame in frames]
    durations = [milliseconds] * len(others) + [3000]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0)
    return path
