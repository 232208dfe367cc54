"""Logits to metrics: accuracy, calibration, each class, and the tables that hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from src.evaluation.calibration import Bin, Calibration, calibrate, calibrate_adaptively
from src.evaluation.classes import ClassRow, class_rows, class_scores, confusion_matrix
from src.evaluation.confidence import confidence_and_right
from src.evaluation.coverage import CoverageRow, area_under_risk, coverage_curve
from src.evaluation.interval import wilson

Table = tuple[Sequence[str], Sequence[Sequence[object]]]
AS_TRAINED, CALIBRATED = "as trained", "after temperature scaling"


@dataclass(frozen=True)
class Evaluation:
    """What a model's logits say about the test set.

    metrics: for JSON; more: further numbers, for the table alone; confusion: (C, C) counts, rows
    actual; classes: a row each; calibration, adaptive: by name, bins of equal width and of equal
    mass with their error; coverage: accuracy over the surest images.
    """

    metrics: dict[str, float]
    more: dict[str, float]
    confusion: NDArray[np.int64]
    classes: list[ClassRow]
    calibration: dict[str, Calibration]
    adaptive: dict[str, Calibration]
    coverage: list[CoverageRow]


def evaluate(
    logits: Tensor,
    labels: Tensor,
    names: list[str],
    temperature: float | None,
    augmented: Mapping[str, Tensor] = MappingProxyType({}),
) -> Evaluation:
    """Everything that (N, C) logits say about (N,) labels; temperature: from other images.

    augmented: logits with test-time augmentation, by its kind; of these the accuracy alone counts.
    coverage and aurc go by the scaled probabilities, as `make predict` tells them.

    macro_f1 is the mean over the classes that an image has or is taken for, as scikit-learn
    ("all labels in y_true and y_pred") and torchmetrics have it: a class that is only predicted
    counts as 0, one that is in neither has no F1 and does not count.
    """
    counts = confusion_matrix(logits, labels)
    f1 = class_scores(counts)[2]
    answers = confidence_and_right(logits.double() / (temperature or 1), labels)
    calibration, adaptive = calibrations(logits, labels, temperature)
    rows = class_rows(names, counts, logits, labels)
    metrics = {
        "top1": accuracy(logits, labels),
        "macro_f1": f1[~f1.isnan()].mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
        "ece": calibration[AS_TRAINED].error,
    }
    more = {
        "ece_adaptive": adaptive[AS_TRAINED].error,
        "ece_classwise": float(np.mean([row.ece for row in rows])),
        "aurc": area_under_risk(*answers),
    }
    if temperature is not None:
        error = calibration[CALIBRATED].error
        metrics |= {"ece_calibrated": error, "temperature": temperature}
        more["ece_adaptive_calibrated"] = adaptive[CALIBRATED].error
    metrics |= {f"top1_{tta}": accuracy(each, labels) for tta, each in augmented.items()}
    curve = coverage_curve(*answers)
    return Evaluation(metrics, more, counts.numpy(), rows, calibration, adaptive, curve)


def calibrations(
    logits: Tensor, labels: Tensor, temperature: float | None
) -> tuple[dict[str, Calibration], dict[str, Calibration]]:
    """In bins of equal width, and of equal mass: by name, as trained and with the temperature."""
    series = {AS_TRAINED: logits}
    if temperature is not None:
        series[CALIBRATED] = logits / temperature
    answers = {name: confidence_and_right(each, labels) for name, each in series.items()}
    calibration = {name: calibrate(*each) for name, each in answers.items()}
    return calibration, {name: calibrate_adaptively(*each) for name, each in answers.items()}


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy, in double precision: 0.972 and not 0.972000002."""
    return (logits.argmax(1) == labels).double().mean().item()


def measures(result: Evaluation) -> list[tuple[str, float, float | None, float | None]]:
    """Name, value, and the ends of the 95% interval where the value is an accuracy."""
    images = int(result.confusion.sum())
    rows: list[tuple[str, float, float | None, float | None]] = []
    for name, value in (result.metrics | result.more).items():
        is_accuracy = name.startswith("top1")
        ends = wilson(round(value * images), images) if is_accuracy else (None, None)
        rows.append((name, value, *ends))
    return rows


def tables(
    result: Evaluation, logits: Tensor, labels: Tensor, names: list[str]
) -> dict[str, Table]:
    """Header and rows by name: every number; scores of each class; the (actual, predicted) names of
    each image as DVC's confusion plot wants them; the calibration bins that hold an image, of equal
    width and of equal mass; accuracy against coverage."""
    predicted = logits.argmax(1).tolist()
    pairs = [(names[a], names[p]) for a, p in zip(labels.tolist(), predicted, strict=True)]
    bins = [row for row in result.calibration[AS_TRAINED].bins if row.images]
    return {
        "evaluation": (["measure", "value", "low", "high"], measures(result)),
        "classes": (["class", *ClassRow._fields[1:]], result.classes),
        "confusion": (["actual", "predicted"], pairs),
        "calibration": (Bin._fields, bins),
        "calibration_adaptive": (Bin._fields, result.adaptive[AS_TRAINED].bins),
        "coverage": (CoverageRow._fields, result.coverage),
    }


def headline(result: Evaluation) -> str:
    """The metrics on a line; the accuracy has its 95% interval beside it."""
    said = [f"{name} {value:.4f}" for name, value in result.metrics.items()]
    low, high = wilson(int(result.confusion.trace()), int(result.confusion.sum()))
    said[0] += f" (95% interval {low:.4f} to {high:.4f})"
    return ", ".join(said)
