"""The sheet of the most confident mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from src.figures.evidence import (
    GAP,
    HEADER,
    LINE,
    MARGIN,
    SIDE,
    Legend,
    place_explained,
    place_header,
)
from src.figures.style import drawn, new_sheet, notice, thousands

if TYPE_CHECKING:
    # This name serves only as a type, so figures need no torch.
    from src.explanation.examples import Mistake

ACROSS, GUTTER, CAPTION = 2, 56, 2 * LINE + 30


def build_mistakes(rows: Sequence[Mistake], wrong: int, legend: Legend) -> Figure:
    """Two mistakes a row, each with its image and the evidence for both classes, said and true.

    wrong: how many mistakes there are, shown or not.
    """
    if not rows:
        return notice("No mistakes")
    step_x, step_y = 3 * SIDE + 2 * GAP + GUTTER, SIDE + CAPTION
    width = 2 * MARGIN + ACROSS * step_x - GUTTER
    figure = new_sheet(width, HEADER + -(-len(rows) // ACROSS) * step_y)
    most = f"the {len(rows)} most confident of {thousands(wrong)} mistakes"
    title = f"{legend.title}: {most if wrong > 1 else 'the one mistake'}"
    subtitle = f"Image; evidence for what was said; evidence for what it is ({legend.layer})"
    place_header(figure, title, subtitle, legend)
    for place, row in enumerate(rows):
        y, x = divmod(place, ACROSS)
        maps = {"said": row.said, "is": row.true}
        place_explained(figure, maps, legend, MARGIN + x * step_x, HEADER + y * step_y)
    return figure


draw_mistakes = drawn(build_mistakes)
