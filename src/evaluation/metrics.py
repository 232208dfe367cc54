"""Logits to metrics and curves: accuracy, calibration, per class."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from src.data.batches import Normalize, plain_batches
from src.data.records import Split
from src.device import autocast
from src.training.step import EVAL_BATCH

BINS = 15
AS_TRAINED, CALIBRATED = "as trained", "after temperature scaling"
# Mean confidence, accuracy, number of images.
Bin = tuple[float, float, int]


def views(images: Tensor, tta: str) -> list[Tensor]:
    """The versions of (B, 3, H, W) images whose logits are averaged.

    none: themselves; mirror: and mirrored; mirror_shift: both, and both shifted by one pixel
    up-left and down-right (the edges reflected).
    """
    if tta == "none":
        return [images]
    mirrored = [images, images.flip(3)]
    if tta == "mirror":
        return mirrored
    height, width = images.shape[2:]
    padded = [F.pad(view, (1, 1, 1, 1), mode="reflect") for view in mirrored]
    shifted = [p[:, :, o : o + height, o : o + width] for p in padded for o in (0, 2)]
    return mirrored + shifted


@torch.no_grad()
def predict(
    model: nn.Module, split: Split, normalize: Normalize, precision: str, tta: str = "none"
) -> Tensor:
    """Logits (N, C) in fp32 on the CPU, the mean over the views of test-time augmentation."""
    logits = []
    for images, _ in plain_batches(split, EVAL_BATCH):
        inputs = normalize(images)
        with autocast(precision, normalize.device):
            outputs = [model(view).float() for view in views(inputs, tta)]
        logits.append(torch.stack(outputs).mean(0))
    return torch.cat(logits).cpu()


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits.double() / np.exp(log_temperature), labels).item()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


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
        "loss": F.cross_entropy(logits, labels).item(),
        "ece": calibration[AS_TRAINED][1],
        "macro_f1": f1.mean().item(),
    }
    if temperature is not None:
        calibration[CALIBRATED] = calibrate(logits / temperature, labels)
        metrics |= {"temperature": temperature, "ece_calibrated": calibration[CALIBRATED][1]}
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


def calibrate(logits: Tensor, labels: Tensor) -> tuple[list[Bin], float]:
    """The bins of the reliability diagram and the expected calibration error over them."""
    bins = calibration_curve(logits.softmax(1).numpy(), labels.numpy())
    # torchmetrics gives a confidence of 1 a bin of its own beside the 15.
    error = sum(n * abs(confidence - accuracy) for confidence, accuracy, n in bins)
    return bins, error / len(labels)


def calibration_curve(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Bin]:
    """The bins of equal width; an empty one has the confidence of its middle, accuracy 0."""
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows: list[Bin] = []
    for number in range(BINS):
        inside = place == number
        if inside.any():
            rows.append((confidence[inside].mean(), correct[inside].mean(), int(inside.sum())))
        else:
            rows.append(((number + 0.5) / BINS, 0.0, 0))
    return [(float(mean), float(accuracy), n) for mean, accuracy, n in rows]


def named_pairs(logits: Tensor, labels: Tensor, names: list[str]) -> list[tuple[str, str]]:
    """(actual, predicted) names of each image, as DVC's confusion plot wants them."""
    predicted = logits.argmax(1)
    return [(names[a], names[p]) for a, p in zip(labels.tolist(), predicted.tolist(), strict=True)]


def calibration_table(
    calibration: dict[str, tuple[list[Bin], float]],
) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the bins that hold an image, as trained."""
    bins, _ = calibration[AS_TRAINED]
    return ["confidence", "accuracy", "images"], [[*row] for row in bins if row[2]]
