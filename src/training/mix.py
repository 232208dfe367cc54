"""Training on mixtures of two images: MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.random import Generator, Philox, SeedSequence
from torch import Tensor

from src.data.records import SIDE
from src.pipeline.params import Mix

# Keeps these draws apart from the augmentation's, which are keyed by the seed too.
STREAM = 0x6D6978


@dataclass(frozen=True)
class Draw:
    """What one step mixes: `share` of each image's own pixels, and the box of the other image.

    box: top, bottom, left, right in pixels of images of side 32. MixUp blends without a box.
    """

    share: float
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


def draw(mix: Mix, seed: int, step: int) -> Draw:
    """The draw of a step, the same in any process and after a resume.

    The share comes from Beta(alpha, alpha). CutMix's box covers 1 - share of an image around a
    random pixel; what hangs over the edge is cut off, so its share is counted anew.
    """
    generator = Generator(Philox(SeedSequence([STREAM, seed, step])))
    share = generator.beta(mix.alpha, mix.alpha)
    if mix.kind == "mixup":
        return Draw(share)
    half = SIDE * math.sqrt(1 - share) / 2
    row, column = generator.integers(0, SIDE, 2).tolist()
    ends = [round(min(max(at, 0), SIDE)) for place in (row, column)
            for at in (place - half, place + half)]  # fmt: skip
    top, bottom, left, right = ends
    return Draw(1 - (bottom - top) * (right - left) / SIDE**2, (top, bottom, left, right))


class Mixture:
    """Mixes each image of a batch with its neighbour; the loader has shuffled them already.

    The draw's numbers stand in a tensor, so that a CUDA graph reads those of its step.
    """

    def __init__(self, mix: Mix, seed: int, device: torch.device) -> None:
        self.mix, self.seed = mix, seed
        self.numbers = torch.zeros(5, device=device)

    def prepare(self, step: int) -> None:
        """Put a step's draw in place; nothing waits for the device."""
        drawn = draw(self.mix, self.seed, step)
        for place, number in zip(self.numbers, (drawn.share, *drawn.box), strict=True):
            # A fill carries its number with it; a copy from the host's memory would wait.
            place.fill_(number)

    def images(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32), each mixed with the one before it."""
        other = images.roll(1, 0)
        share, top, bottom, left, right = self.numbers
        if self.mix.kind == "mixup":
            return share * images + (1 - share) * other
        pixel = torch.arange(SIDE, device=images.device)
        rows, columns = (pixel >= top) & (pixel < bottom), (pixel >= left) & (pixel < right)
        return torch.where(rows[:, None] & columns, other, images)

    def score(self, of: Callable[[Tensor], Tensor], labels: Tensor) -> Tensor:
        """The mean of a score for (B,) labels and for those mixed in, by their shares."""
        share = self.numbers[0]
        return share * of(labels) + (1 - share) * of(labels.roll(1, 0))
