"""How accuracy falls as test images get worse: noise, blur, brightness, JPEG.

The four kinds and their five strengths are those with which Hendrycks and Dietterich 2019 made
CIFAR-10-C (gaussian noise, gaussian blur, brightness, JPEG compression). Values are rounded, where
theirs are cut off; JPEG files are OpenCV's. So compare networks here with each other, and not with
published figures.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from src.data.records import Split
from src.data.split import sample
from src.evaluation.metrics import accuracy
from src.evaluation.predict import predict
from src.network.weights import Trained
from src.pipeline.progress import progress

Picture = NDArray[np.uint8]
# Neither depends on a parameter: every network meets the same images with the same noise.
SAMPLE_SEED, NOISE_SEED = 0, 0


class CorruptionRow(NamedTuple):
    """Accuracy by kind at a strength, over a number of images."""

    strength: int
    noise: float
    blur: float
    brightness: float
    jpeg: float
    images: int


def to_uint8(values: NDArray[np.floating]) -> Picture:
    """From the scale 0 to 1."""
    pixels: Picture = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return pixels


def noise(image: Picture, deviation: float, rng: Generator) -> Picture:
    """Add to each value, on the scale 0 to 1, a normal draw."""
    return to_uint8(image / 255 + rng.normal(0, deviation, image.shape))


def blur(image: Picture, sigma: float, _: Generator) -> Picture:
    """Blur with a gaussian of `sigma` pixels, cut off at 4 sigma; the edge pixels go on."""
    side = 2 * int(4 * sigma + 0.5) + 1
    smooth = cv2.GaussianBlur(image / 255, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return to_uint8(smooth)


def brightness(image: Picture, more: float, _: Generator) -> Picture:
    """Add to each pixel's value in HSV, on the scale 0 to 1."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.minimum(hsv[..., 2] + more, 1)
    return to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def jpeg(image: Picture, quality: float, _: Generator) -> Picture:
    """Save as JPEG and read again."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    read = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return np.asarray(read, np.uint8)


Corruption = tuple[Callable[[Picture, float, Generator], Picture], tuple[float, ...]]
KINDS: dict[str, Corruption] = {
    "noise": (noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "blur": (blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "brightness": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "jpeg": (jpeg, (80, 65, 58, 50, 40)),
}
STRENGTHS = range(1, 6)


def corrupt(images: NDArray[np.uint8], kind: str, strength: int) -> NDArray[np.uint8]:
    """(N, H, W, 3) images at a strength from 1 to 5; each image's draws are keyed by its place."""
    change, amounts = KINDS[kind]
    keys = ([NOISE_SEED, place * len(STRENGTHS) + strength - 1] for place in range(len(images)))
    rngs = (Generator(Philox(key=key)) for key in keys)
    amount = amounts[strength - 1]
    return np.stack([change(image, amount, rng) for image, rng in zip(images, rngs, strict=True)])


def robustness(trained: Trained, test: Split, count: int) -> list[CorruptionRow]:
    """Accuracy at strength 0, which is no corruption, to 5; no row where `count` is 0.

    count: how many test images to try, the same share of each class; all, where there are fewer.
    """
    if not count:
        return []
    some = test.subset(sample(test.labels, min(count, len(test)), SAMPLE_SEED))
    labels = torch.from_numpy(some.labels)

    def accuracy_on(images: NDArray[np.uint8]) -> float:
        return accuracy(predict(trained, Split(images, some.labels)), labels)

    clean = accuracy_on(some.images)
    strengths = progress(STRENGTHS, "strengths of corruption tried")
    at = [[accuracy_on(corrupt(some.images, kind, s)) for kind in KINDS] for s in strengths]
    shares = [[clean] * len(KINDS), *at]
    return [CorruptionRow._make([s, *row, len(some)]) for s, row in enumerate(shares)]
