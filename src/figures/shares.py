"""Shares of images with their 95% intervals."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from src.evaluation.interval import wilson

Floats = NDArray[np.floating]


def draw_shares(axes: Axes, places: Floats, shares: Floats, images: Floats, **look: Any) -> None:
    """Draw (N,) shares, each of its number of images, with a bar for the 95% interval."""
    counts = zip(shares * images, images.astype(int).tolist(), strict=True)
    low, high = np.array([wilson(right, of) for right, of in counts]).T
    # A share that was rounded could lie just beyond the end of its interval.
    spread = np.maximum((shares - low, high - shares), 0)
    axes.errorbar(places, shares, spread, elinewidth=1, **look)
