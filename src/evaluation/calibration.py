"""Is the network as often right as it says? Reliability and temperature (Guo et al. 2017)."""

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

BINS = 15
# Mean confidence, accuracy, number of images.
Bin = tuple[float, float, int]


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits.double() / np.exp(log_temperature), labels).item()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


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
