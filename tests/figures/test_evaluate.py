"""The figures of the test results have each number in its place and leave out absent ones."""

from pathlib import Path

import numpy as np
import pytest

from src.figures import calibration, evaluate
from tests.figures.reading import NAMES, RNG, Case, check_file, unreadable, words_of

COUNTS = RNG.poisson(2, (20, 20)) + np.diag(RNG.integers(800, 1001, 20))
BINS = [(0.0, 0.0, 0), *((i / 15 + 0.03, (i / 15) ** 2, 9 * 2**i) for i in range(1, 15))]
CONFUSION = (evaluate.build_confusion, evaluate.draw_confusion)
CALIBRATION = (calibration.build_calibration, calibration.draw_calibration)
CLASSES = (evaluate.build_classes, evaluate.draw_classes)
# Of emu there is no image and it was never predicted; gnu was never predicted; yak has no image.
PARTLY = [
    ("cat", 0.9, 0.8, 0.85), ("emu", None, None, None), ("gnu", None, 0.0, 0.0),
    ("yak", 0.0, None, 0.0),
]  # fmt: skip
CASES = {
    "confusion_2": Case(*CONFUSION, (COUNTS[:2, :2], NAMES[:2])),
    "confusion_20": Case(*CONFUSION, (100 * COUNTS, NAMES * 2)),
    "calibration": Case(*CALIBRATION, ({"as trained": (BINS, 0.03), "scaled": (BINS, 0.01)},)),
    "calibration_one": Case(*CALIBRATION, ({"as trained": (BINS, 0.03)},)),
    "classes_2": Case(*CLASSES, ([("cat", 0.8, 0.9, 0.85), ("dog", 1.0, 1.0, 1.0)],)),
    "classes_20": Case(*CLASSES, ([(n, 0.8, 0.9, 0.01 * i) for i, n in enumerate(NAMES * 2)],)),
    "classes_absent": Case(*CLASSES, (PARTLY,)),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["confusion_2", "calibration", "classes_2", "classes_absent"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_confusion_colours_are_shares_of_the_row() -> None:
    figure = Case(*CONFUSION, (np.array([[3, 1], [0, 0]]), ["cat", "dog"])).figure()
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert "3 of 4 right (75.0%)" in words_of(figure)


def test_classes_are_sorted_by_f1() -> None:
    rows = [("cat", 0.5, 0.5, 0.5), ("dog", 0.9, 0.9, 0.9), ("bird", 0.7, 0.7, 0.7)]
    labels = Case(*CLASSES, (rows,)).figure().axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["cat", "bird", "dog"]  # upwards


def test_a_score_that_is_absent_is_not_drawn() -> None:
    figure = CASES["classes_absent"].figure()
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["emu", "gnu", "yak", "cat"]
    assert [text.get_text() for text in axes.texts] == ["none", "0.000", "0.000", "0.850"]
    precision, recall = (line.get_xdata() for line in axes.lines)
    np.testing.assert_array_equal(precision, [np.nan, np.nan, 0, 0.9])
    np.testing.assert_array_equal(recall, [np.nan, 0, np.nan, 0.8])
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_array_equal(widths, [np.nan, 0, 0, 0.85])


def test_bins_without_images_are_not_drawn() -> None:
    top, bottom = CASES["calibration"].figure().axes
    assert len(top.lines[1].get_xdata()) == len(BINS) - 1
    assert len(bottom.patches) == 2 * (len(BINS) - 1)


def test_bins_of_few_images_stand_apart() -> None:
    """Their marks are hollow and off the line, because such bins would make the line jump."""
    bins = [(0.1, 1.0, 9), (0.5, 0.5, 10), (0.9, 0.8, 500)]
    top, _ = Case(*CALIBRATION, ({"as trained": (bins, 0.1)},)).figure().axes
    _, line, alone = top.lines
    assert (line.get_xdata().tolist(), alone.get_xdata().tolist()) == ([0.5, 0.9], [0.1])
    assert (alone.get_linestyle(), alone.get_fillstyle()) == ("None", "none")
    assert "hollow: fewer than 10 images" in words_of(top.figure)
