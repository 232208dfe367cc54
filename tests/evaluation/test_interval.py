"""Wilson's interval is that of scipy, and holds the truth as often as it says."""

import numpy as np
import pytest
from scipy.stats import binomtest

from src.evaluation.interval import wilson


@pytest.mark.parametrize("images", [1, 2, 50, 500, 10_000])
def test_it_is_that_of_scipy(images: int) -> None:
    for right in {0, 1, images // 3, images - 1, images}:
        theirs = binomtest(right, images).proportion_ci(method="wilson")
        assert wilson(right, images) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_none_right_and_all_right_end_exactly_at_0_and_1() -> None:
    for images in range(1, 300):
        assert wilson(0, images)[0] == 0
        assert wilson(images, images)[1] == 1


def test_it_holds_the_truth_in_95_of_100_samples() -> None:
    right = np.random.default_rng(0).binomial(500, 0.93, 4000)
    ends = np.array([wilson(k, 500) for k in right])
    inside = (ends[:, 0] <= 0.93) & (ends[:, 1] >= 0.93)
    # The standard error of this share is 0.0034.
    assert inside.mean() == pytest.approx(0.95, abs=0.012)


def test_no_images_have_no_share() -> None:
    with pytest.raises(ValueError, match="0 images have no share"):
        wilson(0, 0)
