"""The figure of selective prediction: accuracy where only the surest images are answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.figures.style import BLUE, GREY, INK, drawn, new_figure, percent

if TYPE_CHECKING:
    # This name serves only as a type, so figures need no torch.
    from src.evaluation.coverage import CoverageRow

SHOWN = 0.8  # the coverage at which the title gives the accuracy


def build_coverage(rows: Sequence[CoverageRow]) -> Figure:
    """Accuracy against the share of images answered, between the best order and none.

    rows: by rising coverage, the last one all images.
    """
    figure = new_figure(6.5, 5.2)
    axes = figure.subplots()
    coverage, accuracy, low, high = np.array([row[:4] for row in rows]).T
    axes.fill_between(
        coverage, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95% interval"
    )
    axes.plot(coverage, accuracy, color=BLUE, label="surest first")
    # Nothing beats an order that puts every right answer before every wrong one.
    best = np.minimum(1, accuracy[-1] / coverage)
    axes.plot(coverage, best, "--", color=INK, linewidth=1, label="best possible order")
    axes.axhline(accuracy[-1], linestyle=":", color=GREY, label=f"all: {percent(accuracy[-1])}")
    place = int(np.argmin(np.abs(coverage - SHOWN)))
    title = f"Of the surest {coverage[place]:.0%} of images {percent(accuracy[place])} are right"
    # The first points stand for so few images that their intervals would flatten the rest.
    bottom = min(low[-1], accuracy.min()) - 0.02
    axes.set(title=title, xlabel="coverage: share of images answered", ylabel="accuracy")
    axes.set(xlim=(0, 1), ylim=(bottom, 1 + 0.05 * (1 - bottom)))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, None))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


draw_coverage = drawn(build_coverage)
