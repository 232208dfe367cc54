"""Maps that explain nothing about an image, for a map to be compared with."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

Maps = NDArray[np.floating]  # (N, H, W)
Indices = NDArray[np.int64]


def random_maps(count: int, resolution: Sequence[int], size: Sequence[int], rng: Generator) -> Maps:
    """(count, *size): noise of a layer's resolution (h, w), enlarged as the layer's maps are.

    At full resolution this puts the pixels in random order; below it, blobs.
    """
    coarse = rng.random((count, *resolution), np.float32)
    across = (size[1], size[0])
    return np.stack([cv2.resize(each, across, interpolation=cv2.INTER_LINEAR) for each in coarse])


def edge_maps(images: NDArray[np.float32]) -> Maps:
    """(N, H, W): how steeply the brightness of images (N, H, W, 3) changes (Sobel's filter)."""
    grey = images.mean(axis=3)
    slopes = [(cv2.Sobel(g, cv2.CV_32F, 1, 0), cv2.Sobel(g, cv2.CV_32F, 0, 1)) for g in grey]
    return np.stack([np.hypot(across, down) for across, down in slopes])


def comparable(predicted: Indices, count: int) -> Indices:
    """The first `count` images whose predicted class was predicted for another image too."""
    times = np.bincount(predicted)
    return np.flatnonzero(times[predicted] > 1)[:count]


def others_of_class(predicted: Indices, rows: Indices, count: int, seed: int) -> Indices:
    """(len(rows), count): for each row, other images of the same predicted class.

    predicted: (N,) classes. Where a class has fewer others, they come more than once. Each row has
    an order of all images of its own, of which it takes the first that are of its class: so the
    others hardly change from one network to the next, nor by a prediction that rounding decides.
    """
    found = []
    for row in rows:
        order = Generator(Philox(key=[seed, row])).permutation(len(predicted))
        others = order[(predicted[order] == predicted[row]) & (order != row)]
        found.append(np.resize(others, count))
    return np.stack(found)
