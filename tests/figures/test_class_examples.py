"""The sheet of classes is right with any number of them, and says what a class lacks."""

from pathlib import Path

import pytest

from src.explanation.examples import ClassExamples
from src.figures.class_examples import build_class_examples, draw_class_examples
from tests.figures.explained import example, faults, legend, many, mistake
from tests.figures.reading import Case, check_file, words_of

DRAWING = (build_class_examples, draw_class_examples)
# Never predicted; without mistakes; without images.
PARTLY = [
    ClassExamples(3, 1234, 0, None, mistake()),
    ClassExamples(1, 50, 50, example(1, 1), None),
    ClassExamples(2, 0, 0, None, None),
]


def whole(label: int) -> ClassExamples:
    return ClassExamples(label, 1000, 345, example(label, label), mistake(label, label + 1))


CASES = {
    "partly": Case(*DRAWING, (PARTLY, legend())),
    "2_classes": Case(*DRAWING, ([whole(0)], legend(["layer4.1.conv2"], many(2)))),
    "256_classes": Case(
        *DRAWING, ([whole(label) for label in range(10)], legend(classes=many(256)))
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_apart_and_large_enough(name: str) -> None:
    assert faults(CASES[name].figure()) == []


def test_png_is_whole_and_repeats(tmp_path: Path) -> None:
    check_file(CASES["partly"], tmp_path)


def test_what_a_class_lacks_is_said() -> None:
    figure = CASES["partly"].figure()
    text = words_of(figure)
    assert "cat\n0 of 1,234 right\n0.0%\nnone is right" in text
    assert "automobile\n50 of 50 right\n100.0%" in text
    assert "bird\nno test images\nnone is right\nno mistake" in text
    assert text.count("none is right") == text.count("no mistake") == 2
    # One for the colours; an image and two maps of the mistake; an image and its map.
    assert len(figure.images) == 1 + 3 + 2


def test_how_many_classes_there_are_is_said() -> None:
    text = words_of(CASES["256_classes"].figure())
    assert "10 of 256 classes, the least often right first" in text
    assert "class 2" in text
