"""Logits to metrics: accuracy, calibration, each class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from src.evaluation.calibration import Bin, calibrate

Table = tuple[Sequence[str], Sequence[Sequence[object]]]
# Name, precision, recall, F1, number of images; a score whose denominator is 0 is None.
ClassRow = tuple[str, float | None, float | None, float | None, int]
AS_TRAINED, CALIBRATED = "as trained", "after temperature scaling"


@dataclass(frozen=True)
class Evaluation:
    """What a model's logits say about the test set.

    metrics: for JSON; confusion: (C, C) counts, rows actual; classes: a row each; calibration: by
    name, the bins and the expected calibration error.
    """

    metrics: dict[str, float]
    confusion: NDArray[np.int64]
    classes: list[ClassRow]
    calibration: dict[str, tuple[list[Bin], float]]


def evaluate(
    logits: Tensor, labels: Tensor, names: list[str], temperature: float | None
) -> Evaluation:
    """Everything that (N, C) logits say about (N,) labels; temperature: from other images.

    macro_f1 is the mean over the classes that an image has or is taken for, as scikit-learn
    ("all labels in y_true and y_pred") and torchmetrics have it: a class that is only predicted
    counts as 0, one that is in neither has no F1 and does not count.
    """
    confusion = multiclass_confusion_matrix(logits, labels, len(names))
    scores = class_scores(confusion)
    f1 = scores[2]
    calibration = {AS_TRAINED: calibrate(logits, labels)}
    metrics = {
        "top1": accuracy(logits, labels),
        "macro_f1": f1[~f1.isnan()].mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
        "ece": calibration[AS_TRAINED][1],
    }
    if temperature is not None:
        calibration[CALIBRATED] = calibrate(logits / temperature, labels)
        metrics |= {"ece_calibrated": calibration[CALIBRATED][1], "temperature": temperature}
    rows = class_rows(names, scores, confusion.sum(1))
    return Evaluation(metrics, confusion.numpy(), rows, calibration)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy, in double precision: 0.972 and not 0.972000002."""
    return (logits.argmax(1) == labels).double().mean().item()


def class_scores(confusion: Tensor) -> Tensor:
    """Precision, recall and F1 of each class, (3, C), from (C, C) counts with rows actual.

    NaN where a score divides 0 by 0: precision of a class that was never predicted, recall of a
    class without images, F1 of a class to which both apply.
    """
    right, predicted, actual = confusion.diag(), confusion.sum(0), confusion.sum(1)
    return torch.stack([right / predicted, right / actual, 2 * right / (predicted + actual)])


def class_rows(names: list[str], scores: Tensor, images: Tensor) -> list[ClassRow]:
    """scores: (3, C), NaN where there is none; images: (C,) counts."""
    columns = [[None if math.isnan(x) else x for x in row] for row in scores.tolist()]
    precision, recall, f1 = columns
    return list(zip(names, precision, recall, f1, images.tolist(), strict=True))


def tables(
    result: Evaluation, logits: Tensor, labels: Tensor, names: list[str]
) -> dict[str, Table]:
    """Header and rows by name: scores of each class, the (actual, predicted) names of each image
    as DVC's confusion plot wants them, and the calibration bins that hold an image."""
    predicted = logits.argmax(1).tolist()
    pairs = [(names[a], names[p]) for a, p in zip(labels.tolist(), predicted, strict=True)]
    bins, _error = result.calibration[AS_TRAINED]
    return {
        "classes": (["class", "precision", "recall", "f1", "images"], result.classes),
        "confusion": (["actual", "predicted"], pairs),
        "calibration": (["confidence", "accuracy", "images"], [row for row in bins if row[2]]),
    }
