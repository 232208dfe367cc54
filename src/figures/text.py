"""Names as a figure can show them: no wider than their place, in letters that its font has."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties, findfont, get_font

from src.figures.style import DPI, LOOK
from src.figures.words import apart, short

# It comes with Matplotlib, so widths are equal on all machines.
FAMILY = LOOK["font.family"]


@cache
def renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)


def text_width(text: str, size: float) -> float:
    """How wide a line is on a sheet, in pixels; size: in points."""
    font = FontProperties(family=FAMILY, size=size)
    width: float = renderer().get_text_width_height_descent(text, font, False)[0]
    return width


def fit(text: str, width: float, size: float) -> str:
    """The text; an ellipsis cuts it where it would be wider than `width` pixels."""
    if text_width(text, size) <= width:
        return text

    def cut_width(length: int) -> float:
        return text_width(text[:length] + "…", size)

    # A folder may give its class a name of 255 letters, and to lay one out is slow.
    length = bisect_right(range(1, len(text)), width, key=cut_width)
    return text[:length] + "…"


def fit_middle(name: str, width: float, size: float) -> str:
    """The name; an ellipsis stands for its middle where it would be wider than `width` pixels."""
    if text_width(name, size) <= width:
        return name

    def cut_width(length: int) -> float:
        return text_width(short(name, length), size)

    # Of two letters at least: one is the ellipsis alone.
    length = bisect_right(range(2, len(name)), width, key=cut_width) + 1
    return short(name, length)


def fitted(classes: Sequence[str], width: float, size: float) -> list[str]:
    """The names of all classes in letters of the font, each at most `width` pixels wide.

    Where two would look the same, they are shown by their numbers.
    """
    return apart([fit_middle(name, width, size) for name in drawable(classes)])


def drawable(classes: Sequence[str]) -> list[str]:
    """The names of all classes; one in letters that the font lacks is shown by its number."""
    letters = get_font(findfont(FAMILY)).get_charmap()
    return [
        name if all(ord(letter) in letters for letter in name) else f"class {label}"
        for label, name in enumerate(classes)
    ]
