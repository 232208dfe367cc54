"""The learning rate range test as a curve with its suggestions."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    drawn,
    log_lr_ticks,
    new_figure,
    plain,
    plain_ticks,
)

Curve = Sequence[float] | NDArray[np.float64]
MARKERS = "o^sDvP"


def build_lr_find(
    lrs: Curve,
    losses: Curve,
    smoothed: Curve,
    *,
    suggestions: Mapping[str, float],
    chosen: str,
    lr: float,
    base_lr: float,
    max_lr: float,
    mode: Literal["exponential", "linear"],
    loss_name: str,
) -> Figure:
    """The loss against the learning rate, every suggestion on the curve, the final `lr` across it.

    suggestions: as found, before they were snapped; chosen: the one that became `lr`.
    Losses may end in NaN or infinity.
    """
    figure = new_figure(10, 5)
    axes = figure.subplots()
    band = f"base_lr {plain(base_lr)} to max_lr {plain(max_lr)}"
    axes.axvspan(base_lr, max_lr, color=BLUE, alpha=0.1, linewidth=0, label=band)
    axes.plot(lrs, losses, ".", color=GREY, alpha=0.5, markersize=4, label="loss at each step")
    axes.plot(lrs, smoothed, color=BLUE, linewidth=2, label="smoothed")
    axes.axvline(lr, color=VERMILLION, linestyle="--", label=f"lr {plain(lr)} ({chosen}, rounded)")
    mark_suggestions(axes, lrs, smoothed, suggestions, chosen)
    axes.set(title=f"Learning rate range test, {mode}: lr {plain(lr)}", ylabel=loss_name)
    axes.set(xlabel="learning rate", ylim=loss_limits(losses, smoothed))
    scale_lr_axis(axes, lrs, mode)
    figure.legend(loc="outside right upper")
    return figure


def mark_suggestions(
    axes: Axes, lrs: Curve, smoothed: Curve, suggestions: Mapping[str, float], chosen: str
) -> None:
    """Hollow marks on the curve, above one larger filled mark, so that equal ones all show."""
    for marker, (name, lr) in zip(MARKERS, suggestions.items(), strict=False):
        loss = np.interp(lr, lrs, smoothed)
        label = f"{name} {plain(lr)}"
        if name == chosen:
            style: dict[str, Any] = {
                "markersize": 13,
                "color": ORANGE,
                "markeredgecolor": "black",
                "zorder": 4,
            }
            label += " (chosen)"
        else:
            style = {"markersize": 8, "color": PURPLE, "fillstyle": "none", "zorder": 5}
        axes.plot(lr, loss, marker, label=label, markeredgewidth=1.5, **style)


def scale_lr_axis(axes: Axes, lrs: Curve, mode: Literal["exponential", "linear"]) -> None:
    if mode == "exponential":
        axes.set_xscale("log")
        log_lr_ticks(axes.xaxis, min(lrs), max(lrs))
    else:
        plain_ticks(axes.xaxis)


def loss_limits(losses: Curve, smoothed: Curve) -> tuple[float, float]:
    """Room for the losses up to 1.5 times the first: where training blows up, the curve leaves."""
    seen = np.concatenate([losses, smoothed])
    seen = seen[seen <= 1.5 * smoothed[0]]  # neither NaN nor infinity is
    margin = 0.06 * np.ptp(seen) or 0.1
    return float(seen.min() - margin), float(seen.max() + margin)


draw_lr_find = drawn(build_lr_find)
