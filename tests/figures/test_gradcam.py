"""The sheet of samples says what was said, what is true, and what the maps speak for."""

from pathlib import Path

import pytest

from src.figures.gradcam import broken, build_samples, draw_samples
from tests.figures.explained import BLOB, ZERO, example, faults, legend, many
from tests.figures.reading import LONG, NAMES, Case, check_file, words_of

DRAWING = (build_samples, draw_samples)
LAYERS = ["layer1", "layer4.1.conv2", "layer4.0.downsample.0", LONG]
FOUR = [ZERO, BLOB, BLOB, BLOB]
CASES = {
    "one": Case(*DRAWING, ([example()], "predicted", legend())),
    "four_layers": Case(
        *DRAWING,
        (
            [example(label, 1, cams=FOUR) for label in range(3)],
            "true",
            legend(LAYERS, method="gradcam++", colors="jet"),
        ),
    ),
    "2_classes": Case(
        *DRAWING,
        ([example(0, 1, 0, index=12), example(1, 1, 0)], many(2)[0], legend(classes=many(2))),
    ),
    "256_classes": Case(
        *DRAWING,
        (
            [example(label, label + 1, label + 2) for label in range(0, 100, 5)],
            many(256)[2],
            legend(classes=many(256)),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_apart_and_large_enough(name: str) -> None:
    assert faults(CASES[name].figure()) == []


def test_png_is_whole_and_repeats(tmp_path: Path) -> None:
    check_file(CASES["one"], tmp_path)


def test_no_evidence_and_right_or_wrong_are_said() -> None:
    text = words_of(CASES["four_layers"].figure())
    assert text.count("no evidence") == 3
    assert text.count("✓ right (0.97)") == 1
    assert text.count("✗ wrong (0.97)") == 2
    assert "no evidence" not in words_of(CASES["one"].figure())


def test_the_explained_class_is_named() -> None:
    assert "Evidence for the predicted class" in words_of(CASES["one"].figure())
    assert "Evidence for the true class" in words_of(CASES["four_layers"].figure())
    shown = Case(*DRAWING, ([example(3, 3, 5), example(5, 5)], "dog", legend()))
    text = words_of(shown.figure())
    assert "Evidence for dog, layer by layer" in text
    assert text.count("maps: dog\n(0.02)") == 1
    assert NAMES[5] == "dog"


def test_a_layer_stands_with_its_resolution() -> None:
    text = words_of(CASES["four_layers"].figure())
    assert "layer1\n4×4\n" in text
    assert "layer4.0.\ndownsample.0\n4×4\n" in text


def test_a_long_path_is_broken_at_a_point() -> None:
    assert broken("layer4.1.conv2", 192) == ["layer4.1.conv2"]
    assert broken("layer4.0.downsample.0", 192) == ["layer4.0.", "downsample.0"]
    assert broken("a" * 40, 192) == ["a" * 40]
