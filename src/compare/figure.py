"""The sheet of images that one of two networks gets right and the other wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src.figures.style import (
    GREEN,
    RED,
    drawn,
    enlarge,
    new_sheet,
    notice,
    picture,
    thousands,
    words,
)
from src.figures.text import drawable, fit, fitted, text_width

if TYPE_CHECKING:
    # This name serves only as a type, so figures need no torch.
    from src.compare.paired import Changed

# Sizes are in pixels; each pixel of an image becomes SCALE × SCALE pixels.
SCALE, ACROSS, SHOWN = 5, 4, 12
MARGIN, HEADER, HEADING, GUTTER, CAPTION, LINE = 30, 106, 50, 64, 100, 27
GAP = 12  # between the captions of two neighbours
SIZE = 9  # points


def build_compare(
    images: NDArray[np.uint8],
    sides: tuple[Sequence[Changed], Sequence[Changed]],
    runs: tuple[str, str],
    classes: Sequence[str],
    calibrated: bool,
) -> Figure:
    """Two groups of images: those that only A gets right, and those that only B does.

    images: (N, H, W, 3), all test images; sides: of each group the images, of which the first
    SHOWN are drawn; runs: names of the two; classes: names by label; calibrated: whether the
    probabilities are after temperature scaling.
    """
    if not any(sides):
        return notice("No image changed side: both runs are right on the same images")
    side = SCALE * images.shape[1]
    step_x, step_y = side + GUTTER, side + CAPTION
    downs = [-(-len(rows[:SHOWN]) // ACROSS) for rows in sides]
    height = HEADER + sum(HEADING + down * step_y for down in downs) + MARGIN // 2
    figure = new_sheet(MARGIN + ACROSS * step_x, height)
    place_header(figure, runs, calibrated, ACROSS * step_x // 2 - GAP)
    # As a caption has room for, between the words around a name and behind the one before it.
    around = max(text_width(f"{mark} B:  0.00", SIZE) for mark in "✓✗"), text_width("is ", SIZE)
    names, labels = (
        dict(zip(classes, fitted(classes, step_x - GAP - taken, SIZE), strict=True))
        for taken in around
    )
    top = HEADER
    for run, rows, down in zip("AB", sides, downs, strict=True):
        words(figure, heading(run, len(rows)), MARGIN, top, size=10)
        for place, row in enumerate(rows[:SHOWN]):
            y, x = divmod(place, ACROSS)
            corner = MARGIN + x * step_x, top + HEADING + y * step_y
            picture(figure, enlarge(images[row.image], SCALE), *corner)
            caption(figure, row, names, labels, corner[0], corner[1] + side + 6)
        top += HEADING + down * step_y
    return figure


def place_header(figure: Figure, runs: tuple[str, str], calibrated: bool, half: int) -> None:
    """Title, scale and the names of both runs. half: the width of either half, in pixels."""
    words(figure, "Images that changed side", MARGIN, 20, size=12)
    scale = f"Probabilities {'after temperature scaling' if calibrated else 'as trained'}"
    words(figure, scale, MARGIN + half + GAP, 24, size=SIZE)
    for place, run in enumerate("AB"):
        text = fit(f"{run}: {in_font(runs[place])}", half, SIZE)
        words(figure, text, MARGIN + place * (half + GAP), 58, size=SIZE)


def heading(run: str, count: int) -> str:
    shown = f", the clearest {SHOWN} of them" if count > SHOWN else ""
    return f"Only {run} is right: {thousands(count)} image{'s' * (count != 1)}{shown}"


def in_font(name: str) -> str:
    """A run's name; letters that the font lacks, as a branch may have, become question marks."""
    return "".join(letter if drawable([letter]) == [letter] else "?" for letter in name)


def caption(
    figure: Figure,
    row: Changed,
    names: Mapping[str, str],
    labels: Mapping[str, str],
    left: int,
    top: int,
) -> None:
    """Say what the image is and what each run says it is; the words also tell right from wrong.

    names, labels: of the classes, as there is room for them beside a probability and alone.
    """
    words(figure, f"is {labels[row.actual]}", left, top, size=SIZE)
    said = [("A", row.said_a, row.probability_a), ("B", row.said_b, row.probability_b)]
    for line, (run, name, probability) in enumerate(said, start=1):
        right = name == row.actual
        text = f"{'✓' if right else '✗'} {run}: {names[name]} {probability:.2f}"
        color = GREEN if right else RED
        words(figure, text, left, top + line * LINE, size=SIZE, color=color)


draw_compare = drawn(build_compare)
