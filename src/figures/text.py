"""Names as a figure can show them: no wider than their place, in letters that its font has."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties, findfont, get_font

from src.figures.style import DPI, LOOK

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


def drawable(classes: Sequence[str]) -> list[str]:
    """The names of all classes; one in letters that the font lacks is shown by its number."""
    letters = get_font(findfont(FAMILY)).get_charmap()
    return [
        name if all(ord(letter) in letters for letter in name) else f"class {label}"
        for label, name in enumerate(classes)
    ]
