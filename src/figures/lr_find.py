"""The curve of the learning rate range test, with the rates that it suggests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    drawn,
    log_lr_ticks,
    new_figure,
    plain,
    plain_ticks,
)

if TYPE_CHECKING:
    # These names serve only as types, so figures need no torch.
    from src.lr_range.range_test import Found
    from src.lr_range.trend import Curve

COLORS = (PURPLE, ORANGE, INK, VERMILLION)
MARKERS = {"steep": "o", "valley": "^", "minimum": "s", "slide": "D"}


def build_lr_find(found: Found, smoothed: Curve, mode: str) -> Figure:
    """The loss against the learning rate, with each rate that training can take on the curve.

    smoothed: (n,), found.losses after smoothing; mode: exponential or linear.
    """
    figure = new_figure(10, 5)
    axes = figure.subplots()
    if found.rates:
        draw_band(axes, found)
    dots: dict[str, Any] = {"color": GREY, "alpha": 0.5, "markersize": 4}
    axes.plot(found.lrs, found.losses, ".", label="loss at each step", **dots)
    axes.plot(found.lrs, smoothed, color=BLUE, linewidth=2, label="smoothed")
    if found.rates:
        mark_rates(axes, found, smoothed)
    kind = "training" if mode == "exponential" else "validation"
    axes.set(title=f"Learning rate range test, {mode}", ylabel=f"{kind} loss")
    axes.set(xlabel="learning rate")
    if len(found.losses):
        axes.set_ylim(loss_limits(found.losses, smoothed))
        scale_lr_axis(axes, found.lrs, mode)
    title = "marked as read, named as rounded" if found.rates else "no rate is found"
    figure.legend(loc="outside right upper", title=title)
    return figure


def draw_band(axes: Axes, found: Found) -> None:
    low, high = found.measured["base_lr"], found.measured["max_lr"]
    rounded = [plain(found.rates[name]) for name in ("base_lr", "max_lr")]
    label = "base_lr {} to max_lr {}".format(*rounded)
    axes.axvspan(low, high, color=BLUE, alpha=0.1, linewidth=0, label=label)


def mark_rates(axes: Axes, found: Found, smoothed: Curve) -> None:
    # Marks are hollow, so that all of them show where they coincide.
    look: dict[str, Any] = {"markersize": 9, "fillstyle": "none", "markeredgewidth": 1.8}
    for (name, marker), color in zip(MARKERS.items(), COLORS, strict=True):
        measured = found.measured[name]
        loss = np.interp(measured, found.lrs, smoothed)
        label = f"{name} {plain(found.rates[name])}"
        axes.plot(measured, loss, marker, color=color, label=label, zorder=5, **look)


def scale_lr_axis(axes: Axes, lrs: Curve, mode: str) -> None:
    if mode == "exponential":
        axes.set_xscale("log")
        log_lr_ticks(axes.xaxis, min(lrs), max(lrs))
    else:
        plain_ticks(axes.xaxis)


def loss_limits(losses: Curve, smoothed: Curve) -> tuple[float, float]:
    """Limits for losses up to 1.5 times the first; a curve that blows up leaves the figure."""
    seen = np.concatenate([losses, smoothed])
    seen = seen[seen <= 1.5 * smoothed[0]]  # this drops NaN and infinity, too
    margin = 0.06 * np.ptp(seen) or 0.1
    return float(seen.min() - margin), float(seen.max() + margin)


draw_lr_find = drawn(build_lr_find)
