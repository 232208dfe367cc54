"""One style for all figures: sizes, colours, number formats, files that repeat byte for byte."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import cv2
import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from src.pipeline.files import whole_file

P = ParamSpec("P")
Picture = NDArray[np.uint8]

DPI = 150
# Okabe and Ito's palette: its colours differ for every common kind of colour blindness.
BLUE, ORANGE, VERMILLION, PURPLE = "#0072B2", "#E69F00", "#D55E00", "#CC79A7"
# These are darker than the palette's, so that text in them is readable on white.
GREEN, RED = "#006B4E", "#B03A00"
INK, GREY, PALE = "#222222", "#666666", "#DDDDDD"

LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # it comes with matplotlib, so every machine has it
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$"
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.dpi": DPI,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
}


@contextmanager
def look() -> Iterator[None]:
    """Use the house style in the block, whatever the user's own matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(LOOK)
        yield


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure for charts, whose layout keeps labels inside and apart."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def new_sheet(width: int, height: int) -> Figure:
    """An empty figure for pictures; `picture` and `words` count pixels from its top left."""
    return Figure(figsize=(width / DPI, height / DPI), layout=None)


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; the same figure gives the same bytes."""
    with look(), whole_file(path) as handle:
        figure.savefig(handle, format="png", dpi=DPI, metadata={"Software": None})


def drawn(build: Callable[P, Figure]) -> Callable[Concatenate[Path, P], None]:
    """Turn `build` into a function that takes a path first and writes the figure to it."""

    @wraps(build)
    def draw(path: Path, /, *args: P.args, **kwargs: P.kwargs) -> None:
        with look():
            figure = build(*args, **kwargs)
        save(figure, path)

    return draw


def picture(figure: Figure, pixels: Picture, left: int, top: int) -> None:
    """Place pixels (H, W, 3) on a sheet without scaling them."""
    height = round(figure.get_figheight() * DPI)
    figure.figimage(pixels, xo=left, yo=height - top - pixels.shape[0], origin="upper")


def words(figure: Figure, text: str, left: int, top: int, **look_of_text: Any) -> None:
    """Place text on a sheet; left, top is its top left corner unless `ha` or `va` say otherwise."""
    width, height = figure.get_size_inches() * DPI
    options = {"ha": "left", "va": "top"} | look_of_text
    figure.text(left / width, 1 - top / height, text, **options)


def notice(text: str) -> Figure:
    """A sheet that only says why there is nothing to draw."""
    figure = new_sheet(900, 200)
    words(figure, text, 450, 100, ha="center", va="center", linespacing=1.8)
    return figure


def enlarge(image: Picture, scale: int) -> Picture:
    """Turn each pixel of (H, W, 3) into a square of scale × scale pixels."""
    larger: Picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    return larger


def thousands(count: float | np.integer[Any]) -> str:
    return f"{count:,.0f}"


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"


def plain(number: float) -> str:
    """Three significant digits, never with an exponent: 0.0001, 0.0123, 10."""
    return np.format_float_positional(number, precision=3, fractional=False, trim="-")


def plain_ticks(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda number, _: plain(number)))


def log_lr_ticks(axis: Axis, low: float, high: float) -> None:
    """Set ticks on a logarithmic axis from low to high: 0.001, 0.01, …; 1-2-5 in a short range."""
    steps = (1.0,) if high / low > 30 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_minor_locator(NullLocator())
    plain_ticks(axis)
