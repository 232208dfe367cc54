"""Each class's scores: how often it is right, found, and told with the right confidence."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from src.evaluation.calibration import class_errors
from src.evaluation.interval import wilson


class ClassRow(NamedTuple):
    """A class of the test set; a score whose denominator is 0 is None.

    images: how many are of the class; recall_low, recall_high: the 95% interval of its recall;
    ece: the calibration error of its probability over all images.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    images: int
    recall_low: float | None
    recall_high: float | None
    ece: float


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """(C, C) counts from (N, C) logits and (N,) labels; rows actual, columns predicted."""
    classes = logits.shape[1]
    pairs = classes * labels + logits.argmax(1)
    return pairs.bincount(minlength=classes**2).view(classes, classes)


def class_scores(confusion: Tensor) -> Tensor:
    """Precision, recall and F1 of each class, (3, C), from (C, C) counts with rows actual.

    NaN where a score divides 0 by 0: precision of a class that was never predicted, recall of a
    class without images, F1 of a class to which both apply.
    """
    # In double precision, so that 940 of 1,000 are 0.94 and not 0.939999998.
    counts = confusion.double()
    right, predicted, actual = counts.diag(), counts.sum(0), counts.sum(1)
    return torch.stack([right / predicted, right / actual, 2 * right / (predicted + actual)])


def class_rows(
    names: list[str], confusion: Tensor, logits: Tensor, labels: Tensor
) -> list[ClassRow]:
    """A row for each class, from (C, C) counts and the (N, C) logits, (N,) labels behind them."""
    errors = class_errors(logits.softmax(1).numpy(), labels.numpy()).tolist()
    scores, right = class_scores(confusion).T.tolist(), confusion.diag().tolist()
    rows = []
    for place, (name, images) in enumerate(zip(names, confusion.sum(1).tolist(), strict=True)):
        precision, recall, f1 = [None if math.isnan(x) else x for x in scores[place]]
        low, high = wilson(right[place], images) if images else (None, None)
        rows.append(ClassRow(name, precision, recall, f1, images, low, high, errors[place]))
    return rows
