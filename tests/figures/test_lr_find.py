"""The figure of the range test marks each rate where it was read."""

from pathlib import Path

import numpy as np
import pytest

from src.figures import lr_find
from src.lr_range.range_test import Found
from tests.figures.reading import Case, check_file, unreadable

LRS = np.geomspace(1e-4, 10, 60)
SMOOTHED = 2.3 - 1.1 / (1 + np.exp(-3 * (np.log10(LRS) + 2))) + np.maximum(LRS - 0.6, 0) ** 2 * 9
MEASURED = {
    "steep": 0.0123, "valley": 0.0123, "minimum": 0.42, "slide": 0.0111, "base_lr": 0.0021,
    "max_lr": 0.19,
}  # fmt: skip
ROUNDED = {
    "steep": 0.01, "valley": 0.01, "minimum": 0.5, "slide": 0.01, "base_lr": 0.002, "max_lr": 0.2
}  # fmt: skip
FOUND = Found(LRS, SMOOTHED, MEASURED, ROUNDED)
DRAWING = (lr_find.build_lr_find, lr_find.draw_lr_find)
CASES = {
    "exponential": Case(*DRAWING, (FOUND, SMOOTHED, "exponential")),
    "linear": Case(*DRAWING, (FOUND, SMOOTHED, "linear")),
    "no rate": Case(*DRAWING, (Found(LRS, SMOOTHED, {}, {}, "why"), SMOOTHED, "exponential")),
    "one point": Case(*DRAWING, (Found(LRS[:1], LRS[:1], {}, {}, "why"), LRS[:1], "exponential")),
    "no point": Case(*DRAWING, (Found(LRS[:0], LRS[:0], {}, {}, "why"), LRS[:0], "exponential")),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["exponential"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_rates_are_marked_as_read_and_named_as_rounded() -> None:
    axes = CASES["exponential"].figure().axes[0]
    marks = {line.get_label(): line for line in axes.lines}
    assert {"steep 0.01", "valley 0.01", "minimum 0.5", "slide 0.01"} <= marks.keys()
    mark = marks["minimum 0.5"]
    assert mark.get_xdata()[0] == 0.42
    assert mark.get_ydata()[0] == np.interp(0.42, LRS, SMOOTHED)
    assert axes.patches[0].get_label() == "base_lr 0.002 to max_lr 0.2"


def test_a_blow_up_does_not_flatten_the_curve() -> None:
    low, high = lr_find.loss_limits(
        np.array([2, 1, 3e9, np.nan]), np.array([2, 1.2, np.inf, np.nan])
    )
    assert 0.8 < low < 1
    assert 2 < high < 3.1
