"""The figures of calibration show each bin in its place, and leave out empty ones."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from src.evaluation.calibration import Bin
from src.figures.calibration import (
    build_adaptive,
    build_calibration,
    draw_adaptive,
    draw_calibration,
)
from tests.figures.reading import Case, check_file, unreadable, words_of

BINS = [Bin(0.0, 0.0, 0), *(Bin(i / 15 + 0.03, (i / 15) ** 2, 9 * 2**i) for i in range(1, 15))]
FINE = [Bin(0.5 + i / 30, 0.4 + i / 25, 667 if i < 10 else 666) for i in range(15)]
SPARSE = [Bin(0.3, 0.0, 1), Bin(0.8, 1.0, 1)]
WIDTH, MASS = (build_calibration, draw_calibration), (build_adaptive, draw_adaptive)
CASES = {
    "two": Case(*WIDTH, ({"as trained": (BINS, 0.03), "scaled": (BINS, 0.01)},)),
    "few": Case(*WIDTH, ({"as trained": ([Bin(0.3, 0.0, 1), Bin(0.9, 0.9, 8)], 0.1)},)),
    "one": Case(*WIDTH, ({"as trained": (BINS, 0.03)},)),
    "adaptive": Case(*MASS, ({"as trained": (FINE, 0.031), "scaled": (FINE, 0.012)},)),
    "adaptive_two_images": Case(*MASS, ({"as trained": (SPARSE, 0.25)},)),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["two", "adaptive"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_bins_without_images_are_not_drawn() -> None:
    top, bottom = CASES["two"].figure().axes
    assert len(top.lines[1].get_xdata()) == len(BINS) - 1
    assert len(bottom.patches) == 2 * (len(BINS) - 1)


def test_bins_of_few_images_stand_apart() -> None:
    """Their marks are hollow and off the line, because such bins would make the line jump."""
    bins = [Bin(0.1, 1.0, 9), Bin(0.5, 0.5, 10), Bin(0.9, 0.8, 500)]
    top, _ = Case(*WIDTH, ({"as trained": (bins, 0.1)},)).figure().axes
    _, line, alone = top.lines
    assert (line.get_xdata().tolist(), alone.get_xdata().tolist()) == ([0.5, 0.9], [0.1])
    assert (alone.get_linestyle(), alone.get_fillstyle()) == ("None", "none")
    assert "hollow: fewer than 10 images" in words_of(top.figure)


def test_lines_are_confidence_and_marks_are_accuracy() -> None:
    axes = CASES["adaptive"].figure().axes[0]
    steps = [patch for patch in axes.patches if hasattr(patch, "get_data")]
    assert [list(step.get_data().values) for step in steps] == [[row[0] for row in FINE]] * 2
    bars = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    marks = [container.lines[0].get_ydata() for container in bars]
    for found in marks:
        np.testing.assert_array_equal(found, [row[1] for row in FINE])
    text = words_of(axes.figure)
    assert "as trained: ECE over these bins 3.1%" in text
    assert "15 bins of 666 or 667 images" in text
