"""Which test images are worth a look: arithmetic on labels and probabilities.

labels: (N,) class indices; probabilities: (N, C).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """How many images of one class were taken for another; how many images that class has."""

    actual: int
    predicted: int
    count: int
    images: int


def choose_samples(labels: Labels, count: int) -> list[int]:
    """The first images of each class in turn, so that the classes differ."""
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        rank[where] = np.arange(len(where))
    order = np.lexsort((labels, rank))
    return order[:count].tolist()


def surest(probabilities: Probabilities, among: NDArray[np.bool_]) -> list[int]:
    """The images of a mask (N,), the most confidently classified first."""
    where = np.flatnonzero(among)
    order = np.argsort(-probabilities[where].max(1), kind="stable")
    return where[order].tolist()


def surest_of_each(
    probabilities: Probabilities, labels: Labels, among: NDArray[np.bool_], classes: Sequence[int]
) -> dict[int, int]:
    """The most confidently classified image of each class; classes without one in the mask lack."""
    images = {label: surest(probabilities, among & (labels == label)) for label in classes}
    return {label: found[0] for label, found in images.items() if found}


def least_right(predicted: Labels, labels: Labels, classes: int) -> list[int]:
    """All classes, the one whose images are least often right first, those without images last."""
    images = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    share = np.where(images > 0, right / np.maximum(images, 1), np.inf)
    return np.argsort(share, kind="stable").tolist()


def confused_pairs(predicted: Labels, labels: Labels, classes: int) -> list[Pair]:
    """Each pair of classes that was confused, the most frequent first, then by their order."""
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    images = counts.reshape(classes, classes).sum(1)
    counts[:: classes + 1] = 0
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return [
        Pair(code // classes, code % classes, int(counts[code]), int(images[code // classes]))
        for code in order.tolist()
    ]
