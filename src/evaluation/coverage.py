"""How often the network is right where it answers only if it is sure: selective prediction."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.evaluation.interval import wilson

Floats = NDArray[np.float64]
STEPS = 100


class CoverageRow(NamedTuple):
    """The share of images answered, the accuracy on them and the ends of its 95% interval, the
    lowest confidence that is answered, the number of images answered."""

    coverage: float
    accuracy: float
    low: float
    high: float
    confidence: float
    images: int


def right_answers(confidence: Floats, right: Floats) -> Floats:
    """How many of the k surest images are right, for k from 1 to N."""
    return np.cumsum(right[np.argsort(-confidence, kind="stable")])


def coverage_curve(confidence: Floats, right: Floats) -> list[CoverageRow]:
    """Accuracy over the surest images, for each per cent of them (El-Yaniv and Wiener 2010).

    confidence, right: (N,), of `confidence_and_right`. A row for each per cent of the images,
    rounded up to a whole image, and so fewer rows where there are fewer than 100 images.
    """
    images = len(confidence)
    surest, gained = np.sort(confidence)[::-1], right_answers(confidence, right)
    kept = sorted({-(-step * images // STEPS) for step in range(1, STEPS + 1)})
    rows = []
    for k in kept:
        right_of_k, least = float(gained[k - 1]), float(surest[k - 1])
        rows.append(CoverageRow(k / images, right_of_k / k, *wilson(right_of_k, k), least, k))
    return rows


def area_under_risk(confidence: Floats, right: Floats) -> float:
    """The mean share of wrong answers over every coverage from 1 to N images: AURC, 0 is best.

    Geifman, Uziel and El-Yaniv 2019. A network has a low one if it is seldom wrong, and if it is
    less sure where it is wrong.
    """
    gained = right_answers(confidence, right)
    return float(np.mean(1 - gained / np.arange(1, len(gained) + 1)))
