"""The figures of intervals, equal-mass bins, coverage and corruptions are right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from src.evaluation.corruptions import CorruptionRow
from src.evaluation.coverage import CoverageRow
from src.evaluation.interval import wilson
from src.evaluation.metrics import evaluate
from src.figures import calibration, corruptions, coverage
from src.figures import evaluate as scores
from src.figures.results import draw_results
from src.figures.style import look
from tests.figures.reading import NAMES, unreadable, words_of

FINE = [(0.5 + i / 30, 0.4 + i / 25, 667 if i < 10 else 666) for i in range(15)]
SPARSE = [(0.3, 0.0, 1), (0.8, 1.0, 1)]
BINS = {"as trained": (FINE, 0.031), "after temperature scaling": (FINE, 0.012)}


def covered(images: int) -> list[CoverageRow]:
    steps = range(1, images + 1, max(images // 100, 1))
    shares = [(k / images, 1 - 0.3 * (k / images) ** 2) for k in steps]
    return [
        CoverageRow(c, a, *wilson(a * c * images, round(c * images)), 1 - c / 2, round(c * images))
        for c, a in shares
    ]


CORRUPTED = [
    CorruptionRow(s, 0.9 - 0.1 * s, 0.9 - 0.05 * s, 0.9, 0.9 - 0.01 * s, 500) for s in range(6)
]
CASES: dict[str, tuple[Callable[..., Figure], Callable[..., None], tuple[Any, ...]]] = {
    "adaptive": (calibration.build_adaptive, calibration.draw_adaptive, (BINS,)),
    "adaptive_two_images": (
        calibration.build_adaptive, calibration.draw_adaptive, ({"as trained": (SPARSE, 0.25)},)
    ),
    "coverage": (coverage.build_coverage, coverage.draw_coverage, (covered(10_000),)),
    "coverage_one": (coverage.build_coverage, coverage.draw_coverage, (covered(1),)),
    "corruptions": (corruptions.build_corruptions, corruptions.draw_corruptions, (CORRUPTED,)),
    "corruptions_off": (corruptions.build_corruptions, corruptions.draw_corruptions, ([],)),
    "classes": (
        scores.build_classes,
        scores.draw_classes,
        ([("cat", 0.8, 0.9, 0.85), ("emu", None, None, None)], {"cat": (0.82, 0.95)}),
    ),
}  # fmt: skip


def build(name: str) -> Figure:
    with look():
        return CASES[name][0](*CASES[name][2])


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(build(name)) == []


@pytest.mark.parametrize("name", ["adaptive", "coverage", "corruptions_off"])
def test_png_repeats_and_fits_a_page(name: str, tmp_path: Path) -> None:
    _, draw, args = CASES[name]
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        draw(path, *args)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    height, width = cv2.imread(str(tmp_path / "a.png")).shape[:2]
    assert 190 <= height <= 2500
    assert 590 <= width <= 1000


def test_lines_are_confidence_and_marks_are_accuracy() -> None:
    axes = build("adaptive").axes[0]
    steps = [patch for patch in axes.patches if hasattr(patch, "get_data")]
    assert [list(step.get_data().values) for step in steps] == [[row[0] for row in FINE]] * 2
    marks = [container.lines[0].get_ydata() for container in axes.containers]
    for found in marks:
        np.testing.assert_array_equal(found, [row[1] for row in FINE])
    text = words_of(axes.figure)
    assert "as trained: ECE 3.1%" in text
    assert "15 bins of 666 images or one more" in text


def test_an_interval_is_drawn_for_each_mark() -> None:
    axes = build("corruptions").axes[0]
    assert [container.get_label() for container in axes.containers] == [
        "noise", "blur", "brightness", "jpeg"
    ]  # fmt: skip
    bars = axes.containers[0].lines[2][0].get_segments()
    assert [tuple(bar[:, 1]) for bar in bars] == [
        pytest.approx(wilson(row.noise * 500, 500)) for row in CORRUPTED
    ]


def test_corruptions_that_were_not_tried_are_said_to_be_off() -> None:
    assert "dvc exp run -S evaluate.corruptions=1000" in words_of(build("corruptions_off"))


def test_coverage_is_drawn_with_the_accuracy_at_four_fifths() -> None:
    figure = build("coverage")
    rows = covered(10_000)
    line, best = (line.get_ydata() for line in figure.axes[0].lines[:2])
    np.testing.assert_array_equal(line, [row.accuracy for row in rows])
    assert (np.asarray(best) >= np.asarray(line) - 1e-12).all()
    assert "Of the surest 80% of images 80.8% are right" in words_of(figure)


def test_the_confusion_matrix_says_the_interval() -> None:
    with look():
        figure = scores.build_confusion(np.array([[460, 4], [32, 4]]), ["cat", "dog"])
    assert "464 of 500 right (92.8%)\n95% interval 90.2% to 94.8%" in words_of(figure)


def test_a_classs_recall_has_its_interval() -> None:
    axes = build("classes").axes[0]
    ((start, end),) = axes.collections[0].get_segments()
    assert (tuple(start), tuple(end)) == ((0.82, 1), (0.95, 1))
    assert "recall, with its 95% interval" in words_of(axes.figure)


def test_every_figure_of_the_results_is_drawn(tmp_path: Path) -> None:
    """Of a class that no image has too."""
    logits = torch.randn(30, 10, generator=torch.Generator().manual_seed(0))
    result = evaluate(logits, torch.arange(30) % 9, NAMES, 1.5)
    draw_results(tmp_path, result, NAMES, [])
    names = {
        "calibration",
        "calibration_adaptive",
        "classes",
        "confusion",
        "corruptions",
        "coverage",
    }
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.png" for name in names}
