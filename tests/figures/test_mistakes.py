"""The sheet of mistakes shows each image pixel by pixel and both of its classes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from src.figures.evidence import HEADER, MARGIN, SCALE
from src.figures.mistakes import build_mistakes, draw_mistakes
from src.figures.style import enlarge, save
from tests.figures.explained import faults, legend, many, mistake
from tests.figures.reading import IMAGES, Case, check_file, words_of

DRAWING = (build_mistakes, draw_mistakes)
CASES = {
    "0": Case(*DRAWING, ([], 0, legend())),
    "1": Case(*DRAWING, ([mistake()], 1, legend())),
    "7": Case(*DRAWING, ([mistake()] * 7, 1234, legend(["layer4.0.downsample.0"]))),
    "long_names": Case(
        *DRAWING, ([mistake(n, n + 1) for n in range(9)], 10_000, legend(classes=many(256)))
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_apart_and_large_enough(name: str) -> None:
    assert faults(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["0", "1"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_no_mistakes_is_said() -> None:
    assert words_of(CASES["0"].figure()) == "No mistakes"


def test_both_classes_and_the_number_of_all_mistakes_are_named() -> None:
    text = words_of(CASES["7"].figure())
    assert "the 7 most confident of 1,234 mistakes" in text
    assert "(layer4.0.downsample.0, 4×4)" in text
    assert (
        text.count("image 9999") == text.count("said automobile\n") == text.count("is cat\n") == 7
    )


def test_pixels_arrive_one_for_one(tmp_path: Path) -> None:
    draw_mistakes(tmp_path / "m.png", [mistake()], 1, legend())
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "m.png")), cv2.COLOR_BGR2RGB)
    side = 32 * SCALE
    region = sheet[HEADER : HEADER + side, MARGIN : MARGIN + side]
    np.testing.assert_array_equal(region, enlarge(IMAGES[9_999 % 8], SCALE))


def test_25_mistakes_are_in_under_4_mb(tmp_path: Path) -> None:
    save(Case(*DRAWING, ([mistake()] * 25, 25, legend())).figure(), tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size < 4_000_000
