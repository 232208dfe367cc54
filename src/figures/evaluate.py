"""Figures of the test results: confusion, and each class's scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from src.evaluation.interval import wilson
from src.figures.style import INK, VERMILLION, drawn, new_figure, percent, thousands
from src.figures.text import drawable
from src.figures.words import short_names

if TYPE_CHECKING:
    # This name serves only as a type, so figures need no torch.
    from src.evaluation.classes import ClassRow

# Inches. Cells shrink where the matrix would be larger than SIDE, so that a page can show it.
CELL, SIDE = 0.56, 14
ROOM_FOR_COUNT, ROOM_FOR_NAME = 0.45, 0.12


def build_confusion(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Each cell shows a count; its colour shows the share of the actual class.

    counts: (C, C), rows actual, columns predicted; names: (C,) by label.
    Of many classes the cells are too small for counts, and of very many not all have a name.
    """
    counts = np.asarray(counts)
    cell = min(CELL, SIDE / len(names))
    side = max(cell * len(names), 2.5)
    figure = new_figure(side + 2.7, side + 1.9)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root keeps mistakes of a few per cent from all looking white.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], fraction=0.04)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    bar.set_label("share of the actual class")
    if cell >= ROOM_FOR_COUNT:
        write_counts(axes, counts, shares)
    name_cells(axes, short_names(drawable(names)), cell)
    right, total = int(counts.trace()), int(counts.sum())
    low, high = wilson(right, total)
    title = (
        f"Confusion matrix: {thousands(right)} of {thousands(total)} right "
        f"({percent(right / total)})\n95% interval {percent(low)} to {percent(high)}"
    )
    figure.suptitle(title, fontsize=11)
    return figure


def write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Write each count above zero, in white where its cell is dark."""
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if shares[row, column] > 0.45 else INK
            text = thousands(count)
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)


def name_cells(axes: Axes, names: Sequence[str], cell: float) -> None:
    """Name the rows and columns, or every second, third, … where cells of `cell` inches are small.

    Slanted names need more room than upright ones, so narrow columns have upright names.
    """
    axes.grid(False)
    axes.spines[:].set_visible(False)
    every = math.ceil(ROOM_FOR_NAME / cell)
    places, told = range(0, len(names), every), names[::every]
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    upright = {"rotation": 90, "fontsize": 7}
    wide = cell >= ROOM_FOR_COUNT
    axes.set_xticks(places, told, **(slanted if wide else upright))
    axes.set_yticks(places, told, fontsize=10 if wide else 7)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="actual")


def build_classes(rows: Sequence[ClassRow]) -> Figure:
    """Each class has a bar of F1, and marks for precision and recall; the best class is on top.

    rows: by label; a score that is None leaves its place empty.
    """
    figure = new_figure(8, 1.6 + 0.36 * len(rows))
    axes = figure.subplots()
    names = [row.name for row in rows]
    shown = dict(zip(names, short_names(drawable(names)), strict=True))
    rows = sorted(rows, key=lambda row: -1 if row.f1 is None else row.f1)
    scores = [(row.precision, row.recall, row.f1) for row in rows]
    precision, recall, f1 = np.array(scores, np.float64).T  # None becomes NaN
    places = np.arange(len(rows))
    axes.barh(places, f1, height=0.62, color="#A9CCE3", label="F1")
    axes.plot(precision, places, "D", color=VERMILLION, markersize=5, label="precision")
    label = "recall, with its 95% interval"
    axes.plot(recall, places, "o", color=INK, fillstyle="none", markersize=6, label=label)
    lows, highs = np.array([(row.recall_low, row.recall_high) for row in rows], np.float64).T
    told = ~np.isnan(lows)
    axes.hlines(places[told], lows[told], highs[told], color=INK, linewidth=1)
    for place, score in zip(places, f1, strict=True):
        text = "none" if np.isnan(score) else f"{score:.3f}"
        axes.text(1.03, float(place), text, va="center", fontsize=9)
    axes.set_yticks(places, [shown[row.name] for row in rows])
    axes.set(
        title="Scores by class, with F1 at the right", xlim=(0, 1.02), ylim=(-0.6, len(rows) - 0.4)
    )
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


draw_confusion = drawn(build_confusion)
draw_classes = drawn(build_classes)
