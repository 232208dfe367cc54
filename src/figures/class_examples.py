"""The sheet of classes: of each the surest right image and the worst mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from src.figures.evidence import (
    GAP,
    HEADER,
    LABEL,
    LINE,
    MARGIN,
    SIDE,
    Legend,
    place_explained,
    place_header,
    place_lines,
)
from src.figures.style import GREY, drawn, new_sheet, percent

if TYPE_CHECKING:
    # This name serves only as a type, so figures need no torch.
    from src.explanation.examples import ClassExamples

GUTTER, CAPTION = 28, 2 * LINE + 30
RIGHT = MARGIN + LABEL
WORST = RIGHT + 2 * SIDE + GAP + GUTTER
WIDTH = WORST + 3 * SIDE + 2 * GAP + MARGIN


def build_class_examples(rows: Sequence[ClassExamples], legend: Legend) -> Figure:
    """Each row shows a class: its surest right image, and its most confident mistake.

    rows: the classes that are least often right, that one first; others may exist.
    """
    top_row = HEADER + LINE + GAP
    figure = new_sheet(WIDTH, top_row + len(rows) * (SIDE + CAPTION))
    shown = f"{len(rows)} of {len(legend.classes)} classes, the least often right first"
    subtitle = "Beside each image the evidence for what was said, then for what it is "
    subtitle += f"({legend.layer})"
    place_header(figure, f"{legend.title}: {shown}", subtitle, legend)
    for text, left in (("most confident right", RIGHT), ("most confident mistake", WORST)):
        place_lines(figure, [text], left, HEADER, WIDTH)
    for place, row in enumerate(rows):
        place_class(figure, row, legend, top_row + place * (SIDE + CAPTION))
    return figure


def place_class(figure: Figure, row: ClassExamples, legend: Legend, top: int) -> None:
    """Place one row; a class without such an image says so in its place."""
    lines = [legend.labels[row.label], "no test images"]
    if row.images:
        lines[1:] = [f"{row.right:,} of {row.images:,} right", percent(row.right / row.images)]
    label_top = top + (SIDE - LINE * len(lines)) // 2
    place_lines(figure, lines, MARGIN, label_top, LABEL - 2 * GAP)
    middle = top + (SIDE - LINE) // 2
    if row.best:
        place_explained(figure, {"said": row.best}, legend, RIGHT, top)
    else:
        place_lines(figure, ["none is right"], RIGHT, middle, 2 * SIDE, color=GREY)
    if row.worst:
        maps = {"said": row.worst.said, "is": row.worst.true}
        place_explained(figure, maps, legend, WORST, top)
    else:
        place_lines(figure, ["no mistake"], WORST, middle, 2 * SIDE, color=GREY)


draw_class_examples = drawn(build_class_examples)
