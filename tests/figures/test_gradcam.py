"""The sheets of explained images can be read, and pictures arrive on them pixel by pixel."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from src.explanation.examples import Mistake, Sample
from src.figures import gradcam
from src.figures.style import enlarge, save
from tests.figures.reading import IMAGES, NAMES, Case, check_file, unreadable, words_of

BLOB = np.exp(-((np.arange(32)[:, None] - 12) ** 2 + (np.arange(32) - 20) ** 2) / 60)
ZERO = np.zeros((32, 32))
SAMPLES = (gradcam.build_samples, gradcam.draw_samples)
MISTAKES = (gradcam.build_mistakes, gradcam.draw_mistakes)
LAYERS = ["layer1", "layer2", "layer3", "layer4", "layer4.1.conv2", "layer4.1.bn2"]


def sample(actual: str, predicted: str, cams: list[Any]) -> Sample:
    return Sample(IMAGES[0], actual, predicted, 0.97, cams)


def mistakes(count: int) -> list[Mistake]:
    said, is_ = "automobile", "aquarium_fish_of_the_deep"
    rows = [(said, is_), (is_, said)] * (count // 2) + [(said, is_)] * (count % 2)
    return [
        Mistake(IMAGES[i % 8], a, 0.97, BLOB, b, 0.02, ZERO if i == 1 else BLOB)
        for i, (a, b) in enumerate(rows)
    ]


CASES = {
    "samples_one": Case(*SAMPLES, ([sample("cat", "cat", [BLOB])], ["layer4"])),
    "samples": Case(
        *SAMPLES, ([sample(n, "automobile", [ZERO] + [BLOB] * 5) for n in NAMES[:3]], LAYERS)
    ),
    "mistakes_0": Case(*MISTAKES, ([],)),
    "mistakes_1": Case(*MISTAKES, (mistakes(1),)),
    "mistakes_7": Case(*MISTAKES, (mistakes(7),)),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["samples_one", "mistakes_0", "mistakes_1"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_pixels_arrive_one_for_one(tmp_path: Path) -> None:
    gradcam.draw_mistakes(tmp_path / "m.png", mistakes(1))
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "m.png")), cv2.COLOR_BGR2RGB)
    side, top, left = 32 * gradcam.SCALE, gradcam.HEADER, gradcam.MARGIN
    region = sheet[top : top + side, left : left + side]
    np.testing.assert_array_equal(region, enlarge(IMAGES[0], gradcam.SCALE))


@pytest.mark.parametrize("size", [(4, 4), (32, 32)])
def test_overlay_has_the_shown_size(size: tuple[int, int]) -> None:
    shown = gradcam.overlay(IMAGES[0], np.ones(size), scale=4)
    assert shown.shape == (128, 128, 3)
    assert shown.dtype == np.uint8


def test_overlay_of_nothing_is_the_grey_image_in_the_cold_colour() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    shown = gradcam.overlay(black, np.zeros((8, 8)))
    cold = np.rint(255 * gradcam.OPACITY * np.array(gradcam.EVIDENCE(0.0)[:3]))
    assert (shown == cold).all()


def test_no_evidence_and_right_or_wrong_are_said() -> None:
    text = words_of(CASES["samples"].figure())
    assert text.count("no evidence") == 3
    assert text.count("✓ right") == 1
    assert text.count("✗ wrong") == 2
    assert "no evidence" not in words_of(CASES["samples_one"].figure())


def test_no_mistakes_is_said() -> None:
    assert words_of(CASES["mistakes_0"].figure()) == "No mistakes"


def test_25_mistakes_are_readable_in_under_4_mb(tmp_path: Path) -> None:
    figure = Case(*MISTAKES, (mistakes(25),)).figure()
    assert unreadable(figure) == []
    save(figure, tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size < 4_000_000
