"""The sheet of pairs of classes that are confused most often."""

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
    SCALE,
    SIDE,
    Legend,
    place_header,
    place_lines,
    place_overlay,
)
from src.figures.style import drawn, enlarge, new_sheet, notice, percent, picture

if TYPE_CHECKING:
    # These names serve only as types, so figures need no torch.
    from src.explanation.examples import PairExamples
    from src.explanation.subject import Example

DOWN, ACROSS = 5, 5  # pairs, and examples of each, that a sheet shows
CAPTION = LINE + 34
STEP = 2 * SIDE + GAP + CAPTION


def build_confused_pairs(rows: Sequence[PairExamples], pairs: int, legend: Legend) -> Figure:
    """Each row shows images of one class that were taken for another, each above its evidence.

    rows: up to DOWN pairs, the most frequent first, each with up to ACROSS examples; pairs: how
    many pairs there are, shown or not.
    """
    if not rows:
        return notice("No two classes were confused")
    start = MARGIN + LABEL
    figure = new_sheet(start + ACROSS * (SIDE + GAP) - GAP + MARGIN, HEADER + len(rows) * STEP)
    title = f"{legend.title}: {len(rows)} of {pairs:,} confused pairs, the most frequent first"
    subtitle = f"The surest examples, each above the evidence for what was said ({legend.layer})"
    place_header(figure, title, subtitle, legend)
    for place, row in enumerate(rows):
        top = HEADER + place * STEP
        lines = pair_label(row, legend)
        label_top = top + (2 * SIDE + GAP - LINE * len(lines)) // 2
        place_lines(figure, lines, MARGIN, label_top, LABEL - 2 * GAP)
        for column, example in enumerate(row.examples):
            place_example(figure, example, legend, start + column * (SIDE + GAP), top)
    return figure


def pair_label(row: PairExamples, legend: Legend) -> list[str]:
    """Say which class was taken for which, and how often."""
    pair = row.pair
    return [
        f"is {legend.labels[pair.actual]}",
        f"said {legend.labels[pair.predicted]}",
        f"{pair.count:,} of {pair.images:,}",
        percent(pair.count / pair.images),
    ]


def place_example(figure: Figure, example: Example, legend: Legend, left: int, top: int) -> None:
    """Place an image above its overlay, with index and probability below."""
    picture(figure, enlarge(example.image, SCALE), left, top)
    place_overlay(figure, example, legend, left, top + SIDE + GAP)
    words_below = [f"image {example.index}: {example.target_probability:.2f}"]
    place_lines(figure, words_below, left, top + 2 * SIDE + GAP + 6, SIDE)


draw_confused_pairs = drawn(build_confused_pairs)
