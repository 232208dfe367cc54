"""Corruptions are those of other libraries, and each column of the table has its own."""

import io

import matplotlib.colors
import numpy as np
import pytest
import torch
from numpy.random import Generator, Philox
from PIL import Image
from scipy.ndimage import gaussian_filter

from src.data.normalize import Normalize
from src.data.records import Split
from src.evaluation.corruptions import KINDS, CorruptionRow, corrupt, robustness
from src.network.weights import Trained
from src.sources.shapes import draw

IMAGES, LABELS, _ = draw(40, 3)
STRENGTHS = [1, 2, 3, 4, 5]


def test_strengths_are_those_of_cifar_10_c() -> None:
    """As the authors' own script for CIFAR-10 has them (Hendrycks and Dietterich 2019)."""
    assert {kind: amounts for kind, (_, amounts) in KINDS.items()} == {
        "noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "blur": (0.4, 0.6, 0.7, 0.8, 1),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "jpeg": (80, 65, 58, 50, 40),
    }


@pytest.mark.parametrize("strength", STRENGTHS)
def test_blur_is_that_of_scipy(strength: int) -> None:
    sigma = KINDS["blur"][1][strength - 1]
    ours = corrupt(IMAGES, "blur", strength)
    for before, after in zip(IMAGES, ours, strict=True):
        theirs = gaussian_filter(before / 255, (sigma, sigma, 0), truncate=4, mode="nearest")
        assert np.abs(after - 255 * theirs).max() < 0.51  # a rounding


@pytest.mark.parametrize("strength", STRENGTHS)
def test_brightness_is_that_of_matplotlib(strength: int) -> None:
    more = KINDS["brightness"][1][strength - 1]
    hsv = matplotlib.colors.rgb_to_hsv(IMAGES / 255)
    hsv[..., 2] = np.minimum(hsv[..., 2] + more, 1)
    theirs = 255 * matplotlib.colors.hsv_to_rgb(hsv)
    assert np.abs(corrupt(IMAGES, "brightness", strength) - theirs).max() < 0.51


@pytest.mark.parametrize("strength", STRENGTHS)
def test_jpeg_is_that_of_pillow(strength: int) -> None:
    """Both use libjpeg-turbo, but not the same version of it."""
    quality = int(KINDS["jpeg"][1][strength - 1])
    for before, after in zip(IMAGES, corrupt(IMAGES, "jpeg", strength), strict=True):
        content = io.BytesIO()
        Image.fromarray(before).save(content, "JPEG", quality=quality)
        theirs = np.asarray(Image.open(content), np.float64)
        assert np.abs(after - theirs).mean() < 0.1
        assert np.abs(after.astype(float) - before).mean() > 1


@pytest.mark.parametrize("strength", STRENGTHS)
def test_noise_has_its_deviation(strength: int) -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    change = (corrupt(grey, "noise", strength).astype(np.float64) - 128) / 255
    assert change.std() == pytest.approx(KINDS["noise"][1][strength - 1], rel=0.01)
    assert change.mean() == pytest.approx(0, abs=0.001)


def test_noise_is_keyed_by_image_and_strength() -> None:
    grey = np.full((3, 32, 32, 3), 128, np.uint8)
    first, again, stronger = (corrupt(grey, "noise", s).astype(int) - 128 for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(corrupt(grey[:2], "noise", 1).astype(int) - 128, first[:2])
    for a, b in ((first[0], first[1]), (first[0], stronger[0])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_each_strength_is_worse_than_the_last(kind: str) -> None:
    change = [np.abs(corrupt(IMAGES, kind, s) - IMAGES.astype(float)).mean() for s in STRENGTHS]
    assert change == sorted(change)
    assert change[0] > 0


class Bright(torch.nn.Module):
    """Says 1 where an image is brighter than the middle, on the whole, else 0."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        brightness = images.mean((1, 2, 3)) - 0.5
        return torch.stack([-brightness, brightness], 1)


def test_a_column_is_its_kinds_accuracy() -> None:
    """Of dark images with a value of 0.42, more than 0.08 of brightness makes bright ones."""
    rng = Generator(Philox(0))
    labels = np.arange(60) % 2
    values = np.where(labels == 1, 0.8, 0.42)[:, None, None, None]
    pixels = 255 * (values + 0.02 * rng.standard_normal((60, 32, 32, 1)).repeat(3, 3))
    test = Split(pixels.astype(np.uint8), labels)
    normalize = Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu"))
    rows = robustness(Trained(Bright(), normalize, "fp32"), test, 20)
    assert [row.strength for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row.brightness for row in rows] == [1, 1, 0.5, 0.5, 0.5, 0.5]
    assert all(row[1:3] == (1, 1) and row.jpeg == 1 for row in rows)
    assert {row.images for row in rows} == {20}
    assert CorruptionRow._fields[1:-1] == tuple(KINDS)


def test_none_are_tried_where_none_are_asked_for() -> None:
    trained = Trained(Bright(), Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu")), "fp32")
    assert robustness(trained, Split(IMAGES, LABELS), 0) == []
    assert robustness(trained, Split(IMAGES, LABELS), 1000)[0].images == 40
