"""The figure of robustness: how accuracy falls as images get worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.figures.shares import draw_shares
from src.figures.style import (
    BLUE,
    ORANGE,
    PURPLE,
    VERMILLION,
    drawn,
    new_figure,
    notice,
    thousands,
)

if TYPE_CHECKING:
    # This name serves only as a type, so figures need no torch.
    from src.evaluation.corruptions import CorruptionRow

LINES = [(BLUE, "o"), (ORANGE, "s"), (VERMILLION, "^"), (PURPLE, "D")]
OFF = "Corruptions were not tried.\nTo try them: dvc exp run -S evaluate.corruptions=1000"


def build_corruptions(rows: Sequence[CorruptionRow]) -> Figure:
    """Accuracy against strength, a line for each kind; words where there are no rows."""
    if not rows:
        return notice(OFF)
    figure = new_figure(6.5, 5)
    axes = figure.subplots()
    strength, *columns, images = np.array(rows).T
    for place, (kind, accuracy) in enumerate(zip(rows[0]._fields[1:-1], columns, strict=True)):
        color, marker = LINES[place]
        shifted, of = strength + 0.06 * (place - 1.5), np.full(len(rows), images[0])
        draw_shares(axes, shifted, accuracy, of, color=color, marker=marker, label=kind)
    title = f"Accuracy on {thousands(images[0])} test images as they get worse"
    axes.set(title=title, xlabel="strength (0: the images as they are)", ylabel="accuracy")
    axes.set_xticks(strength)
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


draw_corruptions = drawn(build_corruptions)
