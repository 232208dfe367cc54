"""What stands in for the pixels that are removed from an image."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

Images = NDArray[np.float32]  # (N, H, W, 3), normalised
Removed = NDArray[np.bool_]  # (N, H, W)
Fill = Callable[[Removed], Images]

SIGMA = 4.0  # pixels: at 32×32 this leaves the colours of an image and none of its shapes
NOISE = 0.01  # that of the authors' code, in units of the normalised images
FILLS = ("blur", "linear")
# How much each neighbour of a pixel counts (Rong et al. 2022).
NEIGHBOURS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12


def fills(images: Images, rng: Generator) -> dict[str, Fill]:
    """The two ways to fill removed pixels; each gives the images with those pixels replaced.

    blur: the pixels of the blurred image (Petsiuk et al. 2018).
    linear: ROAD's noisy linear imputation (Rong et al. 2022). An image has the same noise
    each time, so that a comparison of two maps does not vary with it.
    """
    smooth = blurred(images)
    noise = NOISE * rng.standard_normal(images.shape, np.float32)

    def blur(removed: Removed) -> Images:
        return np.where(removed[..., None], smooth, images)

    def linear(removed: Removed) -> Images:
        return np.where(removed[..., None], imputed(images, removed) + noise, images)

    return dict(zip(FILLS, (blur, linear), strict=True))


def blurred(images: Images) -> Images:
    return np.stack([cv2.GaussianBlur(image, (0, 0), SIGMA) for image in images])


def imputed(images: Images, removed: Removed) -> Images:
    """The images with each removed pixel at the weighted mean of its neighbours.

    Removed neighbours count too, so all removed pixels of an image are solved for together.
    Raises ValueError for an image of which no pixel is left.
    """
    if removed.all(axis=(1, 2)).any():
        raise ValueError("an image cannot be imputed when all its pixels are removed")
    pairs = zip(images, removed, strict=True)
    return np.stack([solve(image, gone) for image, gone in pairs]).astype(np.float32)


def solve(image: NDArray[np.floating], removed: Removed) -> NDArray[np.float64]:
    """One image (H, W, 3) with its removed pixels (H, W) imputed."""
    known = np.where(removed[..., None], 0, image)
    values = np.where(removed[..., None], neighbour_sums(known), image)
    bands = equations(removed)
    solution: NDArray[np.float64] = solveh_banded(
        bands, values.reshape(removed.size, -1), lower=True, check_finite=False
    )
    return solution.reshape(image.shape)


def neighbour_sums(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The weighted sum of each pixel's neighbours; those beyond the edge count as zero."""
    sums: NDArray[np.float64] = cv2.filter2D(
        values.astype(np.float64), cv2.CV_64F, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT
    )
    return sums


def equations(removed: Removed) -> NDArray[np.float64]:
    """The linear system of one image, symmetric, as the diagonals that LAPACK takes.

    removed: (H, W). Row d of the (W + 2, HW) result couples each pixel with the one d places
    after it, row by row. A pixel that is kept stands alone: its equation says that it is kept.
    """
    height, width = removed.shape
    bands = np.zeros((width + 2, height * width))
    weights = neighbour_sums(np.ones((height, width)))  # those of the neighbours that exist
    bands[0] = np.where(removed, weights, 1).ravel()
    gone = removed.ravel()
    column = np.tile(np.arange(width), height)
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        distance = down * width + right
        inside = (column + right >= 0) & (column + right < width)
        both = inside[:-distance] & gone[:-distance] & gone[distance:]
        bands[distance, :-distance] = np.where(both, -NEIGHBOURS[1 + down, 1 + right], 0)
    return bands
