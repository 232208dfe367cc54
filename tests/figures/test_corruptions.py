"""The figure of corruptions has each accuracy with its interval, or says that none was tried."""

from pathlib import Path

import pytest

from src.evaluation.corruptions import CorruptionRow
from src.evaluation.interval import wilson
from src.figures.corruptions import build_corruptions, draw_corruptions
from tests.figures.reading import Case, check_file, unreadable, words_of

CORRUPTED = [
    CorruptionRow(s, 0.9 - 0.1 * s, 0.9 - 0.05 * s, 0.9, 0.9 - 0.01 * s, 500) for s in range(6)
]
CASES = {
    "tried": Case(build_corruptions, draw_corruptions, (CORRUPTED,)),
    "off": Case(build_corruptions, draw_corruptions, ([],)),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", CASES)
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_an_interval_is_drawn_for_each_mark() -> None:
    axes = CASES["tried"].figure().axes[0]
    assert [container.get_label() for container in axes.containers] == [
        "noise", "blur", "brightness", "jpeg"
    ]  # fmt: skip
    bars = axes.containers[0].lines[2][0].get_segments()  # type: ignore[attr-defined]
    assert [tuple(bar[:, 1]) for bar in bars] == [
        pytest.approx(wilson(row.noise * 500, 500)) for row in CORRUPTED
    ]


def test_corruptions_that_were_not_tried_are_said_to_be_off() -> None:
    assert "dvc exp run -S evaluate.corruptions=1000" in words_of(CASES["off"].figure())
