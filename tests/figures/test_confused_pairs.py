"""The sheet of confused classes has room for all examples that the stage asks for."""

from pathlib import Path

import pytest

from src.explanation.choose import Pair
from src.explanation.examples import PairExamples
from src.figures.confused_pairs import ACROSS, DOWN, build_confused_pairs, draw_confused_pairs
from tests.figures.explained import example, faults, legend, many
from tests.figures.reading import Case, check_file, words_of

DRAWING = (build_confused_pairs, draw_confused_pairs)


def row(actual: int, predicted: int, shown: int) -> PairExamples:
    pair = Pair(actual, predicted, 1234, 10_000)
    return PairExamples(pair, [example(actual, predicted)] * shown)


CASES = {
    "none": Case(*DRAWING, ([], 0, legend())),
    "one": Case(*DRAWING, ([row(3, 5, 1)], 1, legend())),
    "all": Case(
        *DRAWING,
        ([row(n, n + 1, ACROSS) for n in range(DOWN)], 65_280, legend(classes=many(256))),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_apart_and_large_enough(name: str) -> None:
    assert faults(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["none", "one"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_no_confusion_is_said() -> None:
    assert words_of(CASES["none"].figure()) == "No two classes were confused"


def test_a_pair_is_named_and_counted() -> None:
    figure = CASES["one"].figure()
    text = words_of(figure)
    assert "is cat\nsaid dog\n1,234 of 10,000\n12.3%" in text
    assert "image 9999: 0.02" in text
    assert len(figure.images) == 1 + 2
    assert "5 of 65,280 confused pairs, the most frequent first" in words_of(CASES["all"].figure())


def test_the_last_example_lies_on_the_sheet() -> None:
    figure = CASES["all"].figure()
    ends = [image.get_extent() for image in figure.images]  # type: ignore[attr-defined]
    assert len(ends) == 1 + 2 * DOWN * ACROSS
    assert max(right for _, right, *_ in ends) <= figure.bbox.width
