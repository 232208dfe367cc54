"""Figures of what the maps are worth: faithfulness beside controls, and the sanity check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from src.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    drawn,
    new_figure,
    notice,
    thousands,
)
from src.figures.words import SHORT, short_paths

if TYPE_CHECKING:
    # These names serve only as types, so figures need no torch.
    from src.explanation.faithfulness import Faithfulness
    from src.explanation.leads import Lead, Point
    from src.explanation.sanity import Check

OWN = "own map"
LEVEL_NAMES = 9  # so many names of parts fit beside each other
NOTHING = (
    "Faithfulness was not measured: no two test images have the same predicted class.\n"
    "Use more test images."
)
# Colour, line and marker of each map, so that no two look alike in grey either.
LOOKS: Mapping[str, tuple[str, str, str]] = {
    OWN: (BLUE, "-", "o"),
    "same class": (VERMILLION, "--", "s"),
    "blobs": (ORANGE, "-.", "D"),
    "pixels": (GREY, ":", "v"),
    "edges": (PURPLE, (0, (6, 1, 1, 1, 1, 1)), "^"),  # type: ignore[dict-item]
}
SERIES = [(BLUE, "o"), (VERMILLION, "s"), (ORANGE, "D"), (GREEN, "^")]
WAYS = {
    ("blur", "deletion"): "deleted pixels\nblurred",
    ("linear", "deletion"): "deleted pixels\nimputed",
    ("blur", "insertion"): "others\nblurred",
    ("linear", "insertion"): "others\nimputed",
}


def build_faithfulness(found: Faithfulness) -> Figure:
    """For each layer four curves of its maps and of the controls; below them the leads.

    Words where nothing was measured.
    """
    if not found.images:
        return notice(NOTHING)
    layers = list(dict.fromkeys(point.layer for point in found.points))
    figure = new_figure(max(2.4 * len(layers), 6) + 1.2, 12.3)
    ratios = [0.15, *[1] * len(WAYS), 1.6]
    grid = figure.add_gridspec(len(ratios), len(layers), height_ratios=ratios)
    for row, way in enumerate(WAYS, 1):
        axes: list[Axes] = []
        for column, (layer, name) in enumerate(zip(layers, short_paths(layers), strict=True)):
            place = (layer, *way)
            axes.append(figure.add_subplot(grid[row, column], sharey=axes[0] if axes else None))
            points = [p for p in found.points if (p.layer, p.fill, p.curve) == place]
            draw_curves(axes[-1], points)
            axes[-1].set_title(name if row == 1 else "")
            axes[-1].tick_params(labelleft=column == 0)
        axes[0].set_ylabel(f"log-odds,\n{WAYS[way]}")
    legend = figure.add_subplot(grid[0, :])
    legend.axis("off")
    legend.legend(handles=handles(), loc="center", ncols=len(LOOKS), handlelength=3)
    draw_leads(figure.add_subplot(grid[-1, :]), found.leads, layers)
    figure.suptitle(
        f"Log-odds of the predicted class, mean over {thousands(found.images)} test images\n"
        "(bands: standard error of the difference from the own map)",
        fontsize=11,
    )
    return figure


def handles() -> list[Line2D]:
    """For the legend: each map with the line of its curves and the marker of its leads."""
    return [
        Line2D([], [], color=colour, linestyle=line, marker=marker, label=name)
        for name, (colour, line, marker) in LOOKS.items()
    ]


def draw_curves(axes: Axes, points: Sequence[Point]) -> None:
    """One curve for each map, as pixels go or come in its order."""
    for name, (colour, line, _) in LOOKS.items():
        of_map = [point for point in points if point.map == name]
        shares = [100 * point.share for point in of_map]
        heights = [point.log_odds for point in of_map]
        axes.plot(shares, heights, color=colour, linestyle=line)
        low = [point.log_odds - point.error for point in of_map]
        high = [point.log_odds + point.error for point in of_map]
        axes.fill_between(shares, low, high, color=colour, alpha=0.2, linewidth=0)
    action = "deleted" if points[0].curve == "deletion" else "shown"
    axes.set(xlabel=f"pixels {action}", xticks=[0, 50, 100], xlim=(-5, 105))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}%"))


def draw_leads(axes: Axes, leads: Sequence[Lead], layers: Sequence[str]) -> None:
    """How far each layer's maps lead each control, with one standard error to each side."""
    controls = [name for name in LOOKS if name != OWN]
    for place, control in enumerate(controls):
        colour, _, marker = LOOKS[control]
        for lead in (each for each in leads if each.control == control):
            x = layers.index(lead.layer) + 0.18 * (place - (len(controls) - 1) / 2)
            axes.errorbar(
                x, lead.lead, lead.error, color=colour, marker=marker, markersize=6, capsize=3
            )
            alone = [mean for mean, _ in lead.parts.values()]
            axes.plot([x + 0.06] * len(alone), alone, ".", color=colour, alpha=0.5, markersize=5)
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_xticks(range(len(layers)), short_paths(layers))
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("lead of the own map,\nlog-odds")
    axes.set_title(
        "Mean distance between the own map's curves and a control's\n"
        "(bars: one standard error; dots: each of the four curves alone)"
    )


def build_sanity(checks: Sequence[Check]) -> Figure:
    """What is left of each layer's maps when the weights are drawn anew from the top down."""
    figure = new_figure(8, 6.5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    layers = list(dict.fromkeys(each.layer for each in checks))
    labels = short_paths(layers)
    for number, (layer, label) in enumerate(zip(layers, labels, strict=True)):
        colour, marker = SERIES[number % len(SERIES)]
        of_layer = [each for each in checks if each.layer == layer]
        # None becomes NaN, which leaves a gap in the line.
        values = np.array([(each.correlation, each.error) for each in of_layer], np.float64)
        above.errorbar(
            [each.step for each in of_layer],
            *values.T,
            color=colour,
            marker=marker,
            capsize=3,
            label=label,
        )
        shares = [100 * each.no_evidence for each in of_layer]
        below.plot([each.step for each in of_layer], shares, color=colour, marker=marker)
    above.axhline(0, color=INK, linewidth=1)
    above.set_ylabel("rank correlation with\nthe maps as trained")
    above.set_title("Maps when the weights are drawn anew, part after part from the top")
    across = len(SERIES) if max(map(len, labels)) <= SHORT else 2
    figure.legend(loc="outside lower center", ncols=across)
    below.set_ylabel("images without\npositive evidence")
    # At least 5%, so that an axis of zeros has ticks that can be read.
    below.set_ylim(0, max(5, below.get_ylim()[1]))
    below.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}%"))
    steps = list(dict.fromkeys((each.step, each.redrawn) for each in checks))
    parts = short_paths([part for _, part in steps])
    names = [f"{'+ ' * (step > 0)}{part}" for (step, _), part in zip(steps, parts, strict=True)]
    below.set_xticks([step for step, _ in steps], names)
    if len(steps) > LEVEL_NAMES or max(map(len, parts)) > SHORT:
        below.tick_params(axis="x", rotation=45)
    below.set_xlabel("drawn anew, five times (points: means; bars: one standard error)")
    return figure


draw_faithfulness, draw_sanity = drawn(build_faithfulness), drawn(build_sanity)
