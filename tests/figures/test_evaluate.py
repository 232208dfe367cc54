"""The figures of the test results have each number in its place and leave out absent ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.typing import ColorType

from src.figures.evaluate import build_classes, build_confusion, draw_classes, draw_confusion
from src.figures.style import INK
from tests.figures.explained import many
from tests.figures.reading import (
    NAMES,
    RNG,
    Case,
    check_file,
    drawn_texts,
    scored,
    unreadable,
    words_of,
)

COUNTS = RNG.poisson(2, (20, 20)) + np.diag(RNG.integers(800, 1001, 20))
CONFUSION, CLASSES = (build_confusion, draw_confusion), (build_classes, draw_classes)
# Of emu there is no image and it was never predicted; gnu was never predicted; yak has no image.
PARTLY = [
    scored("cat", 0.9, 0.8, 0.85, (0.72, 0.95)),
    scored("emu", None, None, None),
    scored("gnu", None, 0.0, 0.0, (0.0, 0.04)),
    scored("yak", 0.0, None, 0.0),
]


def confusion(classes: int) -> Case:
    """A matrix of images that are nearly all right, as of so many classes with long names."""
    return Case(*CONFUSION, (99 * np.eye(classes, dtype=int) + 1, many(classes)))


CASES = {
    "confusion_2": Case(*CONFUSION, (COUNTS[:2, :2], NAMES[:2])),
    "confusion_20": Case(*CONFUSION, (100 * COUNTS, NAMES * 2)),
    "confusion_31": confusion(31),
    "confusion_100": confusion(100),
    "confusion_256": confusion(256),
    "classes_2": Case(*CLASSES, ([scored("cat", 0.8, 0.9, 0.85), scored("dog", 1.0, 1.0, 1.0)],)),
    "classes_20": Case(
        *CLASSES, ([scored(n, 0.8, 0.9, 0.01 * i, (0.7, 0.95)) for i, n in enumerate(NAMES * 2)],)
    ),
    "classes_absent": Case(*CLASSES, (PARTLY,)),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["confusion_2", "classes_2", "classes_absent"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


@pytest.mark.parametrize("classes", [20, 31, 100, 256])
def test_a_matrix_of_any_number_of_classes_fits_a_page(classes: int, tmp_path: Path) -> None:
    case = confusion(classes)
    case.draw(tmp_path / "a.png", *case.shown)
    height, width = cv2.imread(str(tmp_path / "a.png")).shape[:2]
    assert height <= 2500
    assert width <= 2800


@pytest.mark.parametrize(
    ("classes", "counts", "named"), [(31, 31**2, 31), (100, 0, 100), (256, 0, 86)]
)
def test_small_cells_have_no_counts_and_not_all_a_name(
    classes: int, counts: int, named: int
) -> None:
    axes = confusion(classes).figure().axes[0]
    assert len(axes.texts) == counts
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == named


def test_confusion_colours_are_shares_of_the_row() -> None:
    figure = Case(*CONFUSION, (np.array([[3, 1], [0, 0]]), ["cat", "dog"])).figure()
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert "3 of 4 right (75.0%)" in words_of(figure)


def test_the_confusion_matrix_says_the_interval() -> None:
    figure = Case(*CONFUSION, (np.array([[460, 4], [32, 4]]), ["cat", "dog"])).figure()
    assert "464 of 500 right (92.8%)\n95% interval 90.2% to 94.8%" in words_of(figure)


def luminance(colour: ColorType) -> float:
    """Relative luminance (WCAG 2.2)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: ColorType, other: ColorType) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_a_count_has_the_ink_that_reads_better_on_its_cell() -> None:
    shares = [0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    counts = np.diag(shares)
    counts[:, 0] += 100 - counts.sum(1)  # the share of each row's last cell is `shares`
    axes = Case(*CONFUSION, (counts, many(len(shares)))).figure().axes[0]
    image = axes.images[0]
    for text in axes.texts:
        column, row = (int(place) for place in text.get_position())
        cell = image.to_rgba(counts[row, column] / 100)[:3]
        chosen = contrast(text.get_color(), cell)
        assert chosen >= 4
        assert chosen >= 0.95 * max(contrast(ink, cell) for ink in ("white", INK))


def test_classes_are_sorted_by_f1() -> None:
    rows = [scored(name, f1, f1, f1) for name, f1 in (("cat", 0.5), ("dog", 0.9), ("bird", 0.7))]
    labels = Case(*CLASSES, (rows,)).figure().axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["cat", "bird", "dog"]  # upwards


def test_a_class_in_letters_that_the_font_lacks_is_shown_by_its_number() -> None:
    names = ["cat", "猫"]
    figure = Case(*CONFUSION, (np.eye(2, dtype=int), names)).figure()
    assert [text.get_text() for text in drawn_texts(figure)].count("class 1") == 2
    rows = [scored(name, 0.5, 0.5, 0.5) for name in names]
    labels = Case(*CLASSES, (rows,)).figure().axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["cat", "class 1"]


def test_a_classs_recall_has_its_interval() -> None:
    axes = CASES["classes_absent"].figure().axes[0]
    (intervals,) = axes.collections
    assert isinstance(intervals, LineCollection)
    spans = [[tuple(end) for end in line] for line in intervals.get_segments()]
    assert spans == [[(0.0, 1), (0.04, 1)], [(0.72, 3), (0.95, 3)]]
    assert "recall, with its 95% interval" in words_of(axes.figure)


def test_a_score_that_is_absent_is_not_drawn() -> None:
    axes = CASES["classes_absent"].figure().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["emu", "gnu", "yak", "cat"]
    assert [text.get_text() for text in axes.texts] == ["none", "0.000", "0.000", "0.850"]
    precision, recall = (line.get_xdata() for line in axes.lines)
    np.testing.assert_array_equal(precision, [np.nan, np.nan, 0, 0.9])
    np.testing.assert_array_equal(recall, [np.nan, 0, np.nan, 0.8])
    widths = [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]
    np.testing.assert_array_equal(widths, [np.nan, 0, 0, 0.85])
