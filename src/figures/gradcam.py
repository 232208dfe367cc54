"""The sheet of test images beside the evidence that each layer gives."""

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
    WORDS,
    Legend,
    place_header,
    place_lines,
    place_overlay,
)
from src.figures.style import GREEN, RED, drawn, enlarge, new_sheet, picture
from src.figures.text import drawable, text_width

if TYPE_CHECKING:
    # This name serves only as a type, so figures need no torch.
    from src.explanation.subject import Example


def build_samples(rows: Sequence[Example], target: str, legend: Legend) -> Figure:
    """Each row shows an image, then the evidence for one of its classes at every layer.

    target: which class the maps speak for: predicted, true, or a name.
    """
    layers = list(legend.sizes)
    start, step = MARGIN + LABEL, SIDE + GAP
    headings = [["image"], *([*broken(layer, SIDE), legend.size(layer)] for layer in layers)]
    top_row = HEADER + LINE * max(map(len, headings)) + GAP
    width = start + (1 + len(layers)) * step - GAP + MARGIN
    figure = new_sheet(max(width, 800), top_row + len(rows) * step + MARGIN)
    place_header(figure, legend.title, subtitle(target, legend), legend)
    for place, lines in enumerate(headings):
        top = top_row - GAP - LINE * len(lines)
        place_lines(figure, lines, start + place * step, top, SIDE)
    for place, row in enumerate(rows):
        place_sample(figure, row, legend, start, top_row + place * step)
    return figure


def subtitle(target: str, legend: Legend) -> str:
    """Say which class the maps speak for."""
    if target in {"predicted", "true"}:
        return f"Evidence for the {target} class, layer by layer"
    name = drawable(legend.classes)[legend.classes.index(target)]
    return f"Evidence for {name}, layer by layer"


def broken(path: str, width: int) -> list[str]:
    """A module's path, in two lines where it is wider than its picture."""
    if text_width(path, WORDS) <= width:
        return [path]
    parts = path.split(".")
    heads = [".".join(parts[:count]) + "." for count in range(1, len(parts))]
    head = max((h for h in heads if text_width(h, WORDS) <= width), key=len, default="")
    return [head, path.removeprefix(head)] if head else [path]


def place_sample(figure: Figure, row: Example, legend: Legend, left: int, top: int) -> None:
    """Place one row: the label in the margin, the image at `left`, then its maps."""
    lines = sample_label(row, legend)
    color = GREEN if row.predicted == row.actual else RED
    label_top = top + (SIDE - LINE * len(lines)) // 2
    place_lines(figure, lines, MARGIN, label_top, LABEL - 2 * GAP, color=color)
    picture(figure, enlarge(row.image, SCALE), left, top)
    for layer in range(len(row.cams)):
        place_overlay(figure, row, legend, left + (1 + layer) * (SIDE + GAP), top, layer)


def sample_label(row: Example, legend: Legend) -> list[str]:
    """Say in words whether the prediction is right, for readers who cannot tell colours apart."""
    verdict = "✓ right" if row.predicted == row.actual else "✗ wrong"
    lines = [
        f"image {row.index}",
        f"{verdict} ({row.predicted_probability:.2f})",
        f"said {legend.labels[row.predicted]}",
        f"is {legend.labels[row.actual]}",
    ]
    if row.target != row.predicted:
        lines += [f"maps: {legend.labels[row.target]}", f"({row.target_probability:.2f})"]
    return lines


draw_samples = drawn(build_samples)
