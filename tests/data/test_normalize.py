"""From uint8 to the network's input."""

import math
from fractions import Fraction
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.data.normalize import Normalize, channel_statistics, to_device
from src.data.records import Split
from src.sources.shapes import draw

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def split() -> Split:
    images, labels, _ = draw(50, 0)
    return Split(images, labels)


def test_normalize_gives_zero_mean_and_unit_deviation(split: Split) -> None:
    pixels = split.images.reshape(-1, 3) / 255
    normalize = Normalize(pixels.mean(0).tolist(), pixels.std(0).tolist(), CPU)
    result = normalize(torch.from_numpy(split.images))
    assert result.shape == (50, 3, 32, 32)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(result.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(result.std((0, 2, 3)), torch.ones(3), atol=1e-3)


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_only_cuda_copies_while_the_host_goes_on(device: str) -> None:
    """On mps the host's memory could be freed before it was read."""
    batch = MagicMock()
    to_device(batch, torch.device(device))
    batch.to.assert_called_once_with(torch.device(device), non_blocking=device == "cuda")


def draw_images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.randoms())
def test_channel_statistics_are_exact_and_the_same_to_the_bit_in_any_order(count, seed, random):
    images = draw_images(count, seed)
    images[..., 1] = 255
    mean, std = channel_statistics(images)
    # In fractions: not every machine has longer floats than these.
    for channel in range(3):
        values = images[..., channel].ravel().tolist()
        exact = Fraction(sum(values), 255 * len(values))
        square = Fraction(sum(value**2 for value in values), 255**2 * len(values))
        assert mean[channel] == pytest.approx(float(exact), rel=3e-16, abs=0)
        assert std[channel] == pytest.approx(math.sqrt(square - exact**2), rel=1e-15, abs=0)
    assert (mean[1], std[1]) == (1, 0)
    shuffled = images[random.sample(range(count), count)].swapaxes(1, 2)
    again = channel_statistics(shuffled)
    assert [values.tobytes() for values in again] == [mean.tobytes(), std.tobytes()]


def test_channel_statistics_do_not_overflow():
    # One white and one black half: n * (sum of squares) is beyond 64 bits with this many images.
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16] = 255
    mean, std = channel_statistics(np.broadcast_to(image, (20_000, 32, 32, 3)))
    assert mean.tolist() == std.tolist() == [0.5, 0.5, 0.5]
