"""From uint8 images to the network's input, on the device."""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from src.data.records import Split

CHANNELS = ("red", "green", "blue")
# Images at a time where nothing is trained.
EVAL_BATCH = 500


def channel_statistics(
    images: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel on the scale 0 to 1, as two (3,) arrays.

    images: (N, 32, 32, 3). Sums of integers: exact, whatever the order and the machine.
    """
    counts = np.zeros((3, 256), np.int64)
    for image in images:
        counts += [np.bincount(plane.ravel(), minlength=256) for plane in image.transpose(2, 0, 1)]
    n = int(counts[0].sum())
    sums = (counts @ np.arange(256)).tolist()
    squares = (counts @ np.arange(256) ** 2).tolist()
    # Python's integers, because n * squares is beyond 64 bits.
    std = [math.sqrt(n * s2 - s * s) / (255 * n) for s, s2 in zip(sums, squares, strict=True)]
    return np.array(sums) / (255 * n), np.array(std)


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on the device. CUDA copies it while the host goes on, which keeps it until then.

    mps would go on reading memory that the host has freed (pytorch/pytorch#189690).
    """
    return batch.to(device, non_blocking=device.type == "cuda")


class Normalize:
    """uint8 (B, H, W, 3) on any device to normalised float (B, 3, H, W), channels last."""

    def __init__(self, mean: list[float], std: list[float], device: torch.device) -> None:
        self.device = device
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255
        self.scale = 1 / (torch.tensor(std, device=device).view(1, 3, 1, 1) * 255)

    def __call__(self, images: Tensor) -> Tensor:
        # NHWC seen as NCHW is channels_last already: no copy.
        images_bchw = to_device(images, self.device).permute(0, 3, 1, 2)
        return (images_bchw.float() - self.mean) * self.scale


def resize(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) shrunk to (B, 3, side, side), channels last."""
    if images.shape[-1] == side:
        return images
    small = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    return small.contiguous(memory_format=torch.channels_last)


def plain_batches(split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the images as they are, in order, the last one short."""
    for start in range(0, len(split), EVAL_BATCH):
        rows = slice(start, start + EVAL_BATCH)
        yield torch.from_numpy(split.images[rows]), torch.from_numpy(split.labels[rows])
