"""Deletion and insertion curves (Petsiuk et al. 2018, arXiv 1806.07421)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data.normalize import EVAL_BATCH, to_device
from src.device import autocast
from src.explanation.imputation import FILLS, Fill, Images, Removed
from src.network.weights import Trained

Ranks = NDArray[np.int64]  # (N, H, W), 0 where a map is highest
Scores = NDArray[np.float64]

EIGHTHS = np.arange(8) / 8
# The share of the pixels that is deleted, or that is shown. Each curve has the whole image at one
# end; the other end, where no pixel of the image is left, cannot be imputed and is no map's merit.
SHARES = {"deletion": EIGHTHS, "insertion": EIGHTHS + 1 / 8}
# Each map has four curves, named by fill and direction.
WAYS = tuple((fill, curve) for fill in FILLS for curve in SHARES)
Curves = Mapping[tuple[str, str], Scores]  # scores (N, 8) for each of WAYS


def rank_pixels(maps: NDArray[np.floating], ties: NDArray[np.floating]) -> Ranks:
    """The rank of each pixel; where a map (N, H, W) ties, the lower of `ties` comes first."""
    flat = (-maps).reshape(len(maps), -1)
    order = np.lexsort((ties.reshape(flat.shape), flat))
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
    return ranks.reshape(maps.shape)


def removed_at(ranks: Ranks, curve: str, share: float) -> Removed:
    """The pixels that are filled when this share of them is deleted, or inserted."""
    count = round(share * ranks[0].size)
    return ranks < count if curve == "deletion" else ranks >= count


@torch.no_grad()
def log_odds(trained: Trained, images: Images, targets: Tensor) -> Scores:
    """(N,) log of p / (1 - p) for the probability p of each image's target.

    images: (N, H, W, 3) normalised; targets: (N,) on the CPU.
    A probability hardly moves near 1, and how near it is depends on label smoothing and on the
    temperature of the logits; of the log-odds both change little but the scale.
    """
    device, found = trained.normalize.device, []
    for start in range(0, len(images), EVAL_BATCH):
        rows = slice(start, start + EVAL_BATCH)
        batch, classes = torch.from_numpy(images[rows]).permute(0, 3, 1, 2), targets[rows, None]
        with autocast(trained.precision, device):
            logits = trained.model(to_device(batch, device)).cpu().double()
        rest = logits.scatter(1, classes, -torch.inf).logsumexp(1)
        found.append((logits.gather(1, classes)[:, 0] - rest).numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class Trial:
    """Images on which maps are tried, with all that the maps have in common there.

    targets: (N,) classes, on the CPU; whole: (N,) log-odds of the images as they are; ties:
    (N, H, W) draws that decide where a map ties; fills: by name.
    """

    trained: Trained
    targets: Tensor
    whole: Scores
    ties: NDArray[np.floating]
    fills: Mapping[str, Fill]

    def curves(self, maps: NDArray[np.floating]) -> Curves:
        """The log-odds while pixels are deleted, or shown, in the order of maps (N, H, W)."""
        ranks = rank_pixels(maps, self.ties)
        return {way: self.along(*way, ranks) for way in WAYS}

    def along(self, fill: str, curve: str, ranks: Ranks) -> Scores:
        columns = []
        for share in SHARES[curve]:
            gone = removed_at(ranks, curve, share)
            if gone.any():
                columns.append(log_odds(self.trained, self.fills[fill](gone), self.targets))
            else:
                columns.append(self.whole)
        return np.stack(columns, axis=1)


def area(scores: Scores, curve: str) -> Scores:
    """(N,) mean height of curves (N, 8): the area by the trapezoidal rule over its width."""
    shares = SHARES[curve]
    heights: Scores = np.trapezoid(scores, shares, axis=1) / (shares[-1] - shares[0])
    return heights


def lead(own: Scores, control: Scores, curve: str) -> Scores:
    """By how much a map's scores are better than a control's.

    Better is lower where the map's pixels are deleted, and higher where they are shown.
    """
    return control - own if curve == "deletion" else own - control
