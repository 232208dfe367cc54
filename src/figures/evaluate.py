"""What the test set says: confusion, calibration, and each class's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from src.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    VERMILLION,
    drawn,
    new_figure,
    percent,
    short,
    thousands,
)

if TYPE_CHECKING:
    # Named alone: figures need no torch.
    from src.evaluation.calibration import Bin

SERIES = [(BLUE, "o"), (ORANGE, "s")]
FEW = 10  # an accuracy over fewer images than this is mostly chance


def build_confusion(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Counts in every cell, its colour the share of the actual class.

    counts: (C, C), rows actual, columns predicted.
    """
    counts = np.asarray(counts)
    side = max(0.56 * len(names), 2.5)
    figure = new_figure(side + 2.7, side + 1.7)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root, so that mistakes of a few per cent are not all white.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], fraction=0.04)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    bar.set_label("share of the actual class")
    write_counts(axes, counts, shares)
    name_cells(axes, [short(name) for name in names])
    right, total = int(counts.trace()), int(counts.sum())
    share = percent(right / max(total, 1))
    title = f"Confusion matrix: {thousands(right)} of {thousands(total)} right ({share})"
    figure.suptitle(title, fontsize=11)
    return figure


def write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Each count above zero, white where its cell is dark."""
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if shares[row, column] > 0.3 else INK
            text = thousands(count)
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)


def name_cells(axes: Axes, names: Sequence[str]) -> None:
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="actual")


def build_calibration(series: Mapping[str, tuple[Sequence[Bin], float]]) -> Figure:
    """A reliability diagram above a histogram of confidence (Guo et al. 2017, figure 1).

    series: by name (as trained; after temperature scaling) the equal-width bins over [0, 1], the
    empty ones included, and the expected calibration error; one series or two.
    """
    figure = new_figure(6.5, 8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], "--", color=GREY, label="perfect (below it: overconfident)")
    for place, (name, (bins, ece)) in enumerate(series.items()):
        color, marker = SERIES[place]
        confidence, accuracy, count = np.array([row for row in bins if row[2] > 0]).T
        few, label = count < FEW, f"{name}: ECE {percent(ece)}"
        top.plot(confidence[~few], accuracy[~few], color=color, marker=marker, label=label)
        top.plot(confidence[few], accuracy[few], marker, color=color, fillstyle="none")
        draw_counts(bottom, bins, color, place / len(series), 1 / len(series))
    top.set(title="Calibration on the test set", ylabel="accuracy", ylim=(-0.02, 1.02))
    top.set_title(f"hollow: fewer than {FEW} images", loc="right", fontsize=9, color=GREY)
    bottom.set(xlabel="confidence", ylabel="images (log scale)", xlim=(-0.02, 1.02))
    bottom.set_yscale("log")
    bottom.set_ylim(bottom=0.8)
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda count, _: thousands(count)))
    figure.legend(loc="outside lower center")
    return figure


def draw_counts(axes: Axes, bins: Sequence[Bin], color: str, start: float, width: float) -> None:
    """A bar for each bin that has images; start and width as shares of the bin."""
    for place, (_, _, count) in enumerate(bins):
        if count:
            left = (place + 0.05 + 0.9 * start) / len(bins)
            axes.bar(left, count, 0.9 * width / len(bins), align="edge", color=color)


def build_classes(
    rows: Sequence[tuple[str, float | None, float | None, float | None]],
) -> Figure:
    """A bar of F1 for each class, the best above, with its precision and recall.

    rows: name, precision, recall, F1, in [0, 1]; a score that is None leaves its place empty.
    """
    figure = new_figure(8, 1.6 + 0.36 * len(rows))
    axes = figure.subplots()
    rows = sorted(rows, key=lambda row: -1 if row[3] is None else row[3])
    precision, recall, f1 = np.array([row[1:] for row in rows], np.float64).T  # None becomes NaN
    places = range(len(rows))
    axes.barh(places, f1, height=0.62, color="#A9CCE3", label="F1")
    axes.plot(precision, places, "D", color=VERMILLION, markersize=5, label="precision")
    axes.plot(recall, places, "o", color=INK, fillstyle="none", markersize=6, label="recall")
    for place, score in zip(places, f1, strict=True):
        text = "none" if np.isnan(score) else f"{score:.3f}"
        axes.text(1.03, place, text, va="center", fontsize=9)
    axes.set_yticks(places, [short(row[0]) for row in rows])
    axes.set(
        title="Scores by class, with F1 at the right", xlim=(0, 1.02), ylim=(-0.6, len(rows) - 0.4)
    )
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


draw_confusion = drawn(build_confusion)
draw_calibration = drawn(build_calibration)
draw_classes = drawn(build_classes)
