"""How far chance in the choice of test images moves a share of them."""

from math import sqrt
from statistics import NormalDist

Interval = tuple[float, float]
Z = NormalDist().inv_cdf(0.975)  # standard errors to either side that hold 95%


def wilson(right: float, images: int) -> Interval:
    """The 95% interval of the share right / images (Wilson 1927): the score interval.

    It is the set of true shares which the images do not refute at the 5% level. So it stays in
    [0, 1], and says something even where no image or every image is right.
    Raises ValueError where there are no images.
    """
    if images < 1:
        raise ValueError(f"{images} images have no share")
    share, shift = right / images, Z**2 / images
    middle = share + shift / 2
    half = Z * sqrt(share * (1 - share) / images + shift / (4 * images))
    # Rounding could put an end just inside a share of 0 or 1, or just outside the range.
    low, high = (middle - half) / (1 + shift), (middle + half) / (1 + shift)
    return min(share, max(0.0, low)), max(share, min(1.0, high))
