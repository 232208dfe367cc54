"""The sheet of augmented images can be read with one image, and with long names."""

from pathlib import Path

import numpy as np
import pytest

from src.figures import augmentation
from tests.figures.reading import IMAGES, LONG, NAMES, Case, check_file, unreadable, words_of

DRAWING = (augmentation.build_augmentation, augmentation.draw_augmentation)
DRAWS = np.stack([IMAGES] * 3)
CASES = {
    "three": Case(*DRAWING, (IMAGES[:3], DRAWS, [0, 1, 9], NAMES)),
    "one": Case(*DRAWING, (IMAGES[:1], DRAWS[:1, :1], [1], ["cat", LONG])),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["one"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_a_row_is_named_by_its_class() -> None:
    text = words_of(Case(*DRAWING, (IMAGES[:2], DRAWS[:2], [2, 1], ["cat", "猫", "dog"])).figure())
    assert text.endswith("dog\nclass 1")
