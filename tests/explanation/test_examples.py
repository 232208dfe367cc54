"""Each figure's images are the right ones, and each has the maps of its own classes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from src.data.normalize import Normalize
from src.data.records import Split
from src.explanation.answers import Answers
from src.explanation.choose import confused_pairs
from src.explanation.examples import class_rows, mistake_rows, pair_rows, sample_rows
from src.explanation.subject import Example, Subject
from src.network.weights import Trained
from src.pipeline.errors import InputError
from tests.tiny import NoMemory


@pytest.fixture(autouse=True)
def maps_name_their_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each map is filled with the number of the class that it speaks for."""

    def evidence(
        _: nn.Module, layers: Sequence[str], images: torch.Tensor, targets: torch.Tensor, *__: Any
    ) -> dict[str, torch.Tensor]:
        filled = targets.float().view(-1, 1, 1).expand(-1, *images.shape[2:])
        return dict.fromkeys(layers, filled)

    monkeypatch.setattr("src.explanation.maps.grad_cam", evidence)


def asked(said: list[list[float]], labels: list[int], model: nn.Module | None = None) -> Subject:
    """A network that said this of images, each of which is filled with its own number.

    said: (N, C) probabilities.
    """
    pixels = np.zeros((len(labels), 32, 32, 3), np.uint8)
    pixels += np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    normalize = Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu"))
    trained = Trained(model or nn.Identity(), normalize, "fp32")
    classes = [f"name {label}" for label in range(len(said[0]))]
    answers = Answers(torch.tensor(said).log())
    sizes = {"one": (8, 8), "two": (4, 4), "three": (2, 2)}
    test = Split(pixels, np.array(labels))
    return Subject(trained, lambda _: nn.Identity(), test, classes, answers, "gradcam", sizes)


FOUR = [[0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.6, 0.2], [0.1, 0.04, 0.06, 0.8], [0.1, 0.1, 0.1, 0.7]]


def is_explained(example: Example, index: int, target: int, layers: int = 1) -> None:
    """The example is this image, and its maps speak for this class."""
    assert (example.index, example.image[0, 0, 0], example.target) == (index, index, target)
    assert len(example.cams) == layers
    assert all((cam == target).all() for cam in example.cams)


@pytest.mark.parametrize(
    ("target", "expected"),
    [("predicted", [1, 2, 3, 3]), ("true", [0, 1, 2, 3]), ("name 2", [2, 2, 2, 2])],
)
def test_samples_are_explained_for_the_class_asked(target: str, expected: list[int]) -> None:
    subject = asked(FOUR, [0, 1, 2, 3])
    samples = sample_rows(subject, None, 4, target)
    for index, (sample, explained) in enumerate(zip(samples, expected, strict=True)):
        is_explained(sample, index, explained, layers=3)
        assert (sample.actual, sample.predicted) == (index, [1, 2, 3, 3][index])
        assert sample.predicted_probability == pytest.approx([0.7, 0.6, 0.8, 0.7][index])
        assert sample.target_probability == pytest.approx(FOUR[index][explained])


def test_the_images_asked_for_are_the_samples() -> None:
    samples = sample_rows(asked(FOUR, [0, 1, 2, 3]), [3, 1], 4, "predicted")
    assert [sample.index for sample in samples] == [3, 1]


def test_a_mistake_shows_what_speaks_for_each_class() -> None:
    mistakes, count = mistake_rows(asked(FOUR, [0, 1, 2, 3]), 2)
    assert count == 3
    for mistake, index in zip(mistakes, [2, 0], strict=True):
        is_explained(mistake.said, index, index + 1)
        is_explained(mistake.true, index, index)
    assert mistakes[0].true.target_probability == pytest.approx(0.06)
    assert mistake_rows(asked(FOUR, [1, 2, 3, 3]), 2) == ([], 0)


def test_the_surest_of_sure_mistakes_comes_first() -> None:
    """In fp32 both would have a probability of exactly 1."""
    subject = asked([[1.0, 1e-8], [1.0, 1e-11]], [1, 1])
    mistakes, _ = mistake_rows(subject, 2)
    assert [mistake.said.index for mistake in mistakes] == [1, 0]


def test_a_class_shows_its_surest_image_and_its_worst_mistake() -> None:
    """Class 0 is never predicted; all images of class 1 are right; class 2 has no images."""
    said = [[0.2, 0.8, 0], [0.1, 0.9, 0], [0.3, 0.7, 0], [0.4, 0.6, 0]]
    zero, one, two = class_rows(asked(said, [0, 0, 1, 1]))
    assert (zero.label, zero.images, zero.right, zero.best) == (0, 2, 0, None)
    assert zero.worst is not None
    is_explained(zero.worst.said, 1, 1)
    is_explained(zero.worst.true, 1, 0)
    assert (one.label, one.images, one.right, one.worst) == (1, 2, 2, None)
    assert one.best is not None
    is_explained(one.best, 2, 1)
    assert (two.label, two.images, two.right, two.best, two.worst) == (2, 0, 0, None, None)


def test_of_many_classes_the_worst_are_shown() -> None:
    said = (0.5 * np.eye(256) + 0.5 / 256)[[*range(254), 0, 0]].tolist()
    subject = asked(said, list(range(256)))
    wrong, *right = class_rows(subject, 5)[1:]
    assert (wrong.label, wrong.right, wrong.best) == (255, 0, None)
    assert [(row.label, row.right) for row in right] == [(0, 1), (1, 1), (2, 1)]
    for row in right:
        assert row.best is not None
        is_explained(row.best, row.label, row.label)
    assert [row.label for row in class_rows(subject)] == [254, 255, *range(8)]


def test_a_pair_shows_its_most_confident_examples() -> None:
    said = [[0.2, 0.8, 0], [0.1, 0.9, 0], [0.3, 0.7, 0], [0.4, 0.6, 0], [0.1, 0.2, 0.7]]
    labels = [0, 0, 0, 1, 1]
    subject = asked(said, labels)
    pairs = confused_pairs(subject.predicted, subject.test.labels, 3)
    first, second = pair_rows(subject, pairs, 2)
    assert (first.pair.actual, first.pair.predicted, first.pair.count) == (0, 1, 3)
    for example, index in zip(first.examples, [1, 0], strict=True):
        is_explained(example, index, 1)
    (example,) = second.examples
    is_explained(example, 4, 2)


def test_images_too_many_for_the_memory_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    subject = replace(asked(FOUR, [0, 1, 2, 3], NoMemory()), sizes={"layer": (4, 4)})
    with pytest.raises(InputError, match=r"^Grad-CAM of 4 images at a time does not fit the devi"):
        sample_rows(subject, None, 4, "predicted")
