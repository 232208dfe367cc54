"""Figures of calibration: is the network as often right as it says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from src.figures.shares import draw_shares
from src.figures.style import BLUE, GREY, ORANGE, drawn, new_figure, percent, thousands

if TYPE_CHECKING:
    # These names serve only as types, so figures need no torch.
    from src.evaluation.calibration import Bin

SERIES = [(BLUE, "o"), (ORANGE, "s")]
FEW = 10  # an accuracy over fewer images than this is mostly chance


def build_calibration(series: Mapping[str, tuple[Sequence[Bin], float]]) -> Figure:
    """A reliability diagram above a histogram of confidence (Guo et al. 2017, figure 1).

    series: one or two; each name (as trained; after temperature scaling) has its equal-width bins
    over [0, 1], empty ones included, and its expected calibration error.
    """
    figure = new_figure(6.5, 8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], "--", color=GREY, label="perfect (below it: overconfident)")
    for place, (name, (bins, ece)) in enumerate(series.items()):
        color, marker = SERIES[place]
        confidence, accuracy, count = np.array([row for row in bins if row.images > 0]).T
        few, label = count < FEW, f"{name}: ECE {percent(ece)}"
        top.plot(confidence[~few], accuracy[~few], color=color, marker=marker, label=label)
        top.plot(confidence[few], accuracy[few], marker, color=color, fillstyle="none")
        draw_counts(bottom, bins, color, place / len(series), 1 / len(series))
    top.set(title="Calibration on the test set", ylabel="accuracy", ylim=(-0.02, 1.02))
    top.set_title(f"hollow: fewer than {FEW} images", loc="right", fontsize=9, color=GREY)
    bottom.set(xlabel="confidence", ylabel="images (log scale)", xlim=(-0.02, 1.02))
    bottom.set_yscale("log")
    bottom.set_ylim(bottom=0.8)
    # Powers of ten alone would leave a histogram of a few images with one label.
    few_images = max(row.images for bins, _ in series.values() for row in bins) < 3 * FEW
    bottom.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few_images else (1.0,)))
    bottom.yaxis.set_minor_formatter(NullFormatter())
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda count, _: thousands(count)))
    figure.legend(loc="outside lower center")
    return figure


def draw_counts(axes: Axes, bins: Sequence[Bin], color: str, start: float, width: float) -> None:
    """Draw a bar for each bin that has images; start and width are shares of the bin."""
    for place, row in enumerate(bins):
        if row.images:
            left = (place + 0.05 + 0.9 * start) / len(bins)
            axes.bar(left, row.images, 0.9 * width / len(bins), align="edge", color=color)


def build_adaptive(series: Mapping[str, tuple[Sequence[Bin], float]]) -> Figure:
    """What the network says and what comes true, in bins with the same number of images.

    series: one or two; each name (as trained; after temperature scaling) has its bins, from the
    least sure images to the surest, and their expected calibration error: the mean distance
    between line and marks.
    """
    figure = new_figure(6.5, 5.2)
    axes = figure.subplots()
    for place, (name, (bins, ece)) in enumerate(series.items()):
        color, marker = SERIES[place]
        label = f"{name}: ECE over these bins {percent(ece)}"
        draw_bins(axes, bins, color, marker, label, 0.3 * place - 0.15 * (len(series) - 1))
    sizes = " or ".join(thousands(size) for size in sorted({row.images for row in bins}))
    title = f"Calibration in {len(bins)} bins of {sizes} image{'s' * (sizes != '1')}"
    axes.set(title=title, xlabel="images, from the least sure to the surest (bars: 95% interval)")
    axes.set(ylabel="line: what it says; marks: what is true", ylim=(None, 1.02))
    ticks = np.linspace(0, len(bins), 6)
    axes.set_xticks(ticks - 0.5, [f"{share:.0%}" for share in ticks / len(bins)])
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    figure.legend(loc="outside lower center")
    return figure


def draw_bins(
    axes: Axes, bins: Sequence[Bin], color: str, marker: str, label: str, shift: float
) -> None:
    """A step for each bin's confidence; a mark for its accuracy, with the 95% interval."""
    confidence, accuracy, count = np.array(bins).T
    edges = np.arange(len(bins) + 1) - 0.5
    axes.stairs(confidence, edges, baseline=None, color=color, linewidth=1.5)
    places = np.arange(len(bins)) + shift
    draw_shares(axes, places, accuracy, count, fmt=marker, color=color, label=label)


draw_calibration = drawn(build_calibration)
draw_adaptive = drawn(build_adaptive)
