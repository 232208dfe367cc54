"""Logits to metrics: accuracy, calibration, each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from src.evaluation.calibration import Bin, calibrate

Table = tuple[Sequence[str], Sequence[Sequence[object]]]
AS_TRAINED, CALIBRATED = "as trained", "after temperature scaling"


@dataclass(frozen=True)
class Evaluation:
    """What a model's logits say about the test set.

    metrics: for JSON; confusion: (C, C) counts, rows actual; classes: (name, precision, recall,
    f1, images); calibration: by name, the bins and the expected calibration error.
    """

    metrics: dict[str, float]
    confusion: NDArray[np.int64]
    classes: list[tuple[str, float, float, float, int]]
    calibration: dict[str, tuple[list[Bin], float]]


def evaluate(
    logits: Tensor, labels: Tensor, names: list[str], temperature: float | None
) -> Evaluation:
    """Everything that (N, C) logits say about (N,) labels; temperature: from other images."""
    f1 = multiclass_f1_score(logits, labels, len(names), average="none")
    calibration = {AS_TRAINED: calibrate(logits, labels)}
    metrics = {
        "top1": accuracy(logits, labels),
        "macro_f1": f1.mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
        "ece": calibration[AS_TRAINED][1],
    }
    if temperature is not None:
        calibration[CALIBRATED] = calibrate(logits / temperature, labels)
        metrics |= {"ece_calibrated": calibration[CALIBRATED][1], "temperature": temperature}
    confusion = multiclass_confusion_matrix(logits, labels, len(names)).numpy()
    return Evaluation(metrics, confusion, class_rows(logits, labels, names), calibration)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy, in double precision: 0.972 and not 0.972000002."""
    return (logits.argmax(1) == labels).double().mean().item()


def class_rows(
    logits: Tensor, labels: Tensor, names: list[str]
) -> list[tuple[str, float, float, float, int]]:
    """(name, precision, recall, f1, images) of each class."""
    scores = (multiclass_precision, multiclass_recall, multiclass_f1_score)
    columns = [score(logits, labels, len(names), average="none").tolist() for score in scores]
    images = torch.bincount(labels, minlength=len(names)).tolist()
    return list(zip(names, *columns, images, strict=True))


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
