"""The sheet of images that changed side: every name can be read, whatever its letters."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from src.compare.figure import (
    GUTTER,
    HEADER,
    HEADING,
    MARGIN,
    SCALE,
    SHOWN,
    build_compare,
    draw_compare,
)
from src.compare.paired import Changed
from src.figures.style import enlarge
from tests.figures.explained import faults, many
from tests.figures.reading import IMAGES, NAMES, Case, check_file, words_of


def case(classes: list[str], runs: tuple[str, str] = ("HEAD", "lr-0.02"), count: int = 8) -> Case:
    """Images that changed side, half of them to either; the classes take turns."""
    images = np.concatenate([IMAGES] * 4)
    rows = [
        Changed(i, classes[i % len(classes)], classes[i % len(classes)], 0.9, classes[0], 0.1)
        for i in range(1, count)
    ]
    other = [Changed(r.image, r.actual, classes[0], 0.25, r.actual, 0.75) for r in rows]
    return Case(build_compare, draw_compare, (images, (rows, other), runs, classes, True))


def test_it_names_runs_classes_and_probabilities() -> None:
    shown = words_of(case(NAMES).figure()).splitlines()
    assert {"A: HEAD", "B: lr-0.02"} <= set(shown)
    assert shown[shown.index("is automobile") :][:3] == [
        "is automobile",
        "✓ A: automobile 0.90",
        "✗ B: airplane 0.10",
    ]
    assert "Only B is right: 7 images" in shown


@pytest.mark.parametrize(
    ("calibrated", "scale"), [(True, "after temperature scaling"), (False, "as trained")]
)
def test_it_names_the_scale_of_the_probabilities(calibrated: bool, scale: str) -> None:
    rows = [Changed(0, "cat", "dog", 0.9, "cat", 0.8)]
    figure = build_compare(IMAGES, ([], rows), ("HEAD", "main"), NAMES, calibrated)
    assert f"Probabilities {scale}" in words_of(figure).splitlines()


def test_two_runs_that_are_right_on_the_same_images_say_so() -> None:
    same = Case(build_compare, draw_compare, (IMAGES, ((), ()), ("HEAD", "main"), NAMES, True))
    shown = words_of(same.figure())
    assert shown == "No image changed side: both runs are right on the same images"


@pytest.mark.parametrize("classes", [NAMES, many(9), ["cat", "犬"], ["W" * 60, "W" * 61]])
@pytest.mark.parametrize("runs", [("HEAD", "faster"), ("W" * 60, "ветка-犬\n" * 9)])
def test_every_name_can_be_read(classes: list[str], runs: tuple[str, str]) -> None:
    """Warnings are errors in the tests, and Matplotlib warns of a letter that its font lacks."""
    assert faults(case(classes, runs).figure()) == []


def test_a_name_in_letters_that_the_font_lacks_is_replaced() -> None:
    shown = words_of(case(["cat", "犬"], ("HEAD", "new-犬")).figure()).splitlines()
    assert "is class 1" in shown
    assert "✗ B: cat 0.10" in shown
    assert "B: new-?" in shown


def test_only_the_clearest_are_drawn(tmp_path: Path) -> None:
    many_images = case(NAMES, count=SHOWN + 10)
    assert len(many_images.figure().images) == 2 * SHOWN
    assert f"Only A is right: 21 images, the clearest {SHOWN} of them" in words_of(
        many_images.figure()
    )
    check_file(many_images, tmp_path)


@pytest.mark.parametrize(("only_b", "said"), [(1, "Only B is right: 1 image"), (0, "")])
def test_few_images_and_none_have_a_sheet_too(only_b: int, said: str) -> None:
    rows = [Changed(0, "cat", "dog", 0.9, "cat", 0.8)] * only_b
    shown: tuple[object, ...] = (IMAGES, ([], rows), ("HEAD", "b"), NAMES, False)
    sheet = Case(build_compare, draw_compare, shown).figure()
    assert faults(sheet) == []
    assert said in words_of(sheet)
    assert len(sheet.images) == only_b


def test_a_changed_image_stands_above_its_caption(tmp_path: Path) -> None:
    rows = [Changed(i, "cat", "dog", 0.9, "cat", 0.8) for i in range(3)]
    draw_compare(tmp_path / "c.png", IMAGES, ([], rows), ("HEAD", "faster"), NAMES, True)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "c.png")), cv2.COLOR_BGR2RGB)
    side = 32 * SCALE
    top, left = HEADER + 2 * HEADING, MARGIN + 2 * (side + GUTTER)
    region = sheet[top : top + side, left : left + side]
    np.testing.assert_array_equal(region, enlarge(IMAGES[2], SCALE))
