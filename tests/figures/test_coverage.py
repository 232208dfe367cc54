"""The figure of coverage shows the accuracy over the surest images."""

from pathlib import Path

import numpy as np
import pytest

from src.evaluation.coverage import CoverageRow
from src.evaluation.interval import wilson
from src.figures.coverage import build_coverage, draw_coverage
from tests.figures.reading import Case, check_file, unreadable, words_of


def covered(images: int) -> list[CoverageRow]:
    steps = range(1, images + 1, max(images // 100, 1))
    shares = [(k / images, 1 - 0.3 * (k / images) ** 2) for k in steps]
    return [
        CoverageRow(c, a, *wilson(a * c * images, round(c * images)), 1 - c / 2, round(c * images))
        for c, a in shares
    ]


def wrong(images: int) -> list[CoverageRow]:
    steps = range(1, images + 1)
    return [CoverageRow(k / images, 0.0, *wilson(0, k), 0.5, k) for k in steps]


CASES = {
    "many": Case(build_coverage, draw_coverage, (covered(10_000),)),
    "all wrong": Case(build_coverage, draw_coverage, (wrong(40),)),
    "one": Case(build_coverage, draw_coverage, (covered(1),)),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["many"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_an_accuracy_of_0_lies_above_the_axis() -> None:
    assert CASES["all wrong"].figure().axes[0].get_ylim()[0] < 0


def test_coverage_is_drawn_with_the_accuracy_at_four_fifths() -> None:
    figure = CASES["many"].figure()
    rows = covered(10_000)
    line, best = (line.get_ydata() for line in figure.axes[0].lines[:2])
    np.testing.assert_array_equal(line, [row.accuracy for row in rows])
    assert (np.asarray(best) >= np.asarray(line) - 1e-12).all()
    assert "Of the surest 80% of images 80.8% are right" in words_of(figure)
