"""Removed pixels are blurred, or imputed as ROAD's authors impute them."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from src.explanation.imputation import FILLS, NOISE, fills, imputed

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 12, 16, 3)).astype(np.float32)
# Half of the pixels here and there, all but a corner, a block at the edge.
REMOVED = np.stack([RNG.random((12, 16)) < 0.5, np.ones((12, 16), bool), np.zeros((12, 16), bool)])
REMOVED[1, 0, -1] = False
REMOVED[2, 4:, :7] = True


# It hands tensors to NumPy functions.
@pytest.mark.filterwarnings("ignore:__array_wrap__ must:DeprecationWarning")
def test_it_imputes_as_the_authors_do() -> None:
    """To 1e-5, in units of an image's standard deviation."""
    found = imputed(IMAGES, REMOVED)
    theirs = NoisyLinearImputer(noise=0.0)
    for image, gone, ours in zip(IMAGES, REMOVED, found, strict=True):
        kept = torch.from_numpy((~gone).astype(np.float32))
        expected = theirs(torch.from_numpy(image.transpose(2, 0, 1)), kept)
        np.testing.assert_allclose(ours.transpose(2, 0, 1), expected, atol=1e-5)


def test_an_image_without_pixels_is_refused() -> None:
    removed = REMOVED.copy()
    removed[2] = True  # the others keep some
    with pytest.raises(ValueError, match="all its pixels are removed"):
        imputed(IMAGES, removed)


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_changes_the_removed_pixels_alone_and_repeats(name: str) -> None:
    fill = fills(IMAGES, np.random.default_rng(1))[name]
    filled = fill(REMOVED)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[~REMOVED], IMAGES[~REMOVED])
    assert (filled[REMOVED] != IMAGES[REMOVED]).all()
    np.testing.assert_array_equal(filled, fill(REMOVED))


def test_the_noise_is_that_of_the_authors() -> None:
    filled = fills(IMAGES, np.random.default_rng(1))["linear"](REMOVED)
    noise = (filled - imputed(IMAGES, REMOVED))[REMOVED]
    assert noise.std() == pytest.approx(NOISE, rel=0.1)
    assert NoisyLinearImputer().noise == NOISE


def test_blur_leaves_colours_and_no_shapes() -> None:
    image = np.zeros((1, 32, 32, 3), np.float32)
    image[:, ::2] = 1  # stripes
    image[..., 2] = 0.5
    blurred = fills(image, np.random.default_rng(1))["blur"](np.ones((1, 32, 32), bool))
    np.testing.assert_allclose(blurred, 0.5, atol=0.03)
