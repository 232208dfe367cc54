"""Is the network as often right as it says? Reliability and temperature (Guo et al. 2017)."""

import math
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

BINS = 15
BIN = 10  # images at least in a bin of equal mass: an accuracy over fewer is mostly chance
Floats = NDArray[np.float64]
COLDEST, HOTTEST = -3, 3  # log T: the temperatures searched are 0.05 to 20
# The standard error of log T at which a 95% interval goes from half to twice the temperature. That
# is as wide as temperatures differ between networks: one that is known less well says nothing.
MAX_ERROR = math.log(2) / 1.96


class Bin(NamedTuple):
    """Images of about one confidence: the mean of it, their accuracy, how many they are."""

    confidence: float
    accuracy: float
    images: int


class Calibration(NamedTuple):
    """Bins of images by confidence; an empty one has the confidence of its middle, accuracy 0.

    error: the expected calibration error over them.
    """

    bins: list[Bin]
    error: float


class NoTemperature(Exception):
    """Images tell no temperature: the predicate of a sentence about them."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017).

    Raises NoTemperature where that T lies outside the search: the loss falls all the way to T = 0
    if every image is classified right, and all the way to infinity if the logits of the true
    classes are no higher than the mean of all: by chance, or because some are surely wrong. Also
    where the images are too few. How many it takes depends on the network: at its least, the loss
    summed over N images has a second derivative by log T of N × the mean variance of logits / T
    under their own softmax. So log T has a standard error of 1 / √(N × mean variance) if
    softmax(logits / T) is calibrated, which must not exceed MAX_ERROR. At the demo's mean variance
    of 0.46 it takes 18 images.
    """

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits.double() / np.exp(log_temperature), labels).item()

    if slope(logits, labels, HOTTEST) <= 0:
        raise NoTemperature(
            "are classified no better than by chance, or too surely wrong: it would be above 20"
        )
    if slope(logits, labels, COLDEST) >= 0:
        raise NoTemperature("are too well classified: it would be below 0.05")
    best = minimize_scalar(loss, bounds=(COLDEST, HOTTEST), method="bounded").x
    if (error := standard_error(logits, best)) > MAX_ERROR:
        needed = round_up(len(labels) * (error / MAX_ERROR) ** 2)
        raise NoTemperature(f"are too few: for this network it takes about {needed:,.0f}")
    return float(np.exp(best))


def round_up(number: float) -> float:
    """To two significant digits: 1,040 to 1,100."""
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return math.ceil(number / step) * step


def slope(logits: Tensor, labels: Tensor, log_temperature: float) -> float:
    """The derivative of the mean cross-entropy by log T."""
    scaled = logits.double() / np.exp(log_temperature)
    # Difference first: where all images are right, no term is below 0, and so is not the sum.
    lead = scaled.gather(1, labels[:, None]) - scaled
    return (scaled.softmax(1) * lead).sum(1).mean().item()


def standard_error(logits: Tensor, log_temperature: float) -> float:
    """Of log T, from the second derivative of the cross-entropy at its least."""
    scaled = logits.double() / np.exp(log_temperature)
    probability = scaled.softmax(1)
    mean = (probability * scaled).sum(1, keepdim=True)
    variance = (probability * (scaled - mean) ** 2).sum().item()
    return 1 / math.sqrt(variance) if variance else math.inf


def calibrate(confidence: Floats, right: Floats) -> Calibration:
    """The bins of equal width over (N,) images, and the error over them (Guo et al. 2017)."""
    # torchmetrics gives a confidence of 1 a bin of its own beside the 15.
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [mean_bin(confidence, right, np.flatnonzero(place == n)) for n in range(BINS)]
    middles = [Bin((n + 0.5) / BINS, 0.0, 0) for n in range(BINS)]
    return expected([b or middle for b, middle in zip(bins, middles, strict=True)])


def calibrate_adaptively(confidence: Floats, right: Floats) -> Calibration:
    """The bins of equal mass over (N,) images, and the error over them.

    Each bin has the same number of images, give or take one (Nguyen and O'Connor 2015), and so
    fewer than 150 images have fewer bins than 15. A good network is sure of most images, so bins
    of equal width leave most of them in the last one; these tell the sure apart from the very
    sure. Nixon et al. 2019 recommend them. Their measure covers every class's probability; this
    one covers the predicted class's, as the other error does.
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, max(1, min(BINS, len(order) // BIN)))
    return expected([b for part in parts if (b := mean_bin(confidence, right, part))])


def mean_bin(confidence: Floats, right: Floats, inside: NDArray[np.intp]) -> Bin | None:
    if not len(inside):
        return None
    return Bin(float(confidence[inside].mean()), float(right[inside].mean()), len(inside))


def expected(bins: list[Bin]) -> Calibration:
    """The bins with the mean gap between confidence and accuracy, weighted by images."""
    gaps = sum(each.images * abs(each.confidence - each.accuracy) for each in bins)
    return Calibration(bins, gaps / sum(each.images for each in bins))


def class_errors(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> Floats:
    """How far each class's probability is from how often it is the class, (C,).

    probabilities: (N, C). Over all images, each class's own probability is sorted into bins of
    equal width; the error is the mean gap between it and the share of images of the class,
    weighted by images. The mean over classes is the classwise-ECE of Kull et al. 2019 and the
    static calibration error of Nixon et al. 2019. With many classes most images are surely not of
    the class, so it is then much smaller than the error of the predicted class.
    """
    images, classes = probabilities.shape
    place = np.minimum((probabilities.astype(np.float64) * BINS).astype(int), BINS - 1)
    gap = probabilities.astype(np.float64) - np.eye(classes)[labels]
    cell = place + BINS * np.arange(classes)
    sums = np.bincount(cell.ravel(), gap.ravel(), minlength=BINS * classes)
    return np.abs(sums).reshape(classes, BINS).sum(1) / images
