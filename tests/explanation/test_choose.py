"""The images that are worth a look are found, whatever the network said."""

from collections import Counter

import numpy as np
import pytest

from src.explanation.choose import (
    choose_samples,
    confused_pairs,
    least_right,
    surest,
    surest_of_each,
)

PROBABILITIES = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]], np.float32)


def test_samples_are_of_different_classes() -> None:
    labels = np.array([2, 2, 0, 1, 0, 1])
    assert choose_samples(labels, 3) == [2, 3, 0]
    assert choose_samples(labels, 20) == [2, 3, 0, 4, 5, 1]


def test_the_most_confident_come_first() -> None:
    assert surest(PROBABILITIES, np.array([0, 1, 1, 1], bool)) == [2, 1, 3]
    assert surest(PROBABILITIES, np.zeros(4, bool)) == []


def test_each_class_has_its_surest_image() -> None:
    labels, everything = np.array([0, 0, 1, 1]), np.ones(4, bool)
    assert surest_of_each(PROBABILITIES, labels, everything, [1, 0]) == {1: 2, 0: 0}
    assert surest_of_each(PROBABILITIES, labels, np.array([0, 1, 0, 0], bool), [1, 0]) == {0: 1}


def test_the_class_that_is_least_often_right_comes_first() -> None:
    """Class 3 has no images, so it is last; 1 and 4 tie in the order of their labels."""
    labels = np.array([0, 0, 1, 1, 2, 2, 4, 4])
    predicted = np.array([0, 0, 1, 0, 0, 1, 4, 0])
    assert least_right(predicted, labels, 5) == [2, 1, 4, 0, 3]


@pytest.mark.parametrize("classes", [2, 7, 256])
def test_pairs_are_counted(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels, predicted = rng.integers(0, classes, (2, 3000))
    counts = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    wrong = {pair: count for pair, count in counts.items() if pair[0] != pair[1]}
    expected = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    found = confused_pairs(predicted, labels, classes)
    assert [((pair.actual, pair.predicted), pair.count) for pair in found] == expected
    assert all(pair.images == (labels == pair.actual).sum() for pair in found)


def test_no_mistake_is_no_pair() -> None:
    labels = np.array([0, 1, 1])
    assert confused_pairs(labels, labels, 3) == []
