"""Whether maps depend on what the network learned (Adebayo et al. 2018, arXiv 1810.03292)."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Generator, nn

from src.explanation.controls import Indices, Maps
from src.explanation.leads import mean_and_error
from src.explanation.maps import maps_of
from src.network.weights import Trained
from src.pipeline.progress import progress

# No usual seed: with the network's own, a part might be drawn as it was before training.
SEED = 181003292
LEARNED = "as trained"


class Check(NamedTuple):
    """The maps of a layer when the weights from the top down to some part were drawn anew.

    step: how many parts were; redrawn: the last of them; correlation, error: mean rank correlation
    with the maps as trained and its standard error, over the `images` whose maps are not flat, None
    where there are too few; no_evidence: share of all images whose map is zero.
    """

    step: int
    redrawn: str
    layer: str
    correlation: float | None
    error: float | None
    images: int
    no_evidence: float


def cascade_correlations(
    trained: Trained,
    layers: Sequence[str],
    images: NDArray[np.uint8],
    targets: Indices,
    method: str,
) -> list[Check]:
    """How like their maps as trained the maps of each layer are at each step of the cascade.

    images: (N, H, W, 3); targets: (N,) classes that the maps explain, whatever the weights.
    This is the paper's cascading randomisation. Maps that stay as they were explain the image and
    not the network.
    """
    before = maps_of(trained, layers, images, targets, method)
    found = [compare(0, LEARNED, name, before[name], before[name]) for name in layers]
    generator = torch.Generator().manual_seed(SEED)
    for step, (part, model) in enumerate(cascade(trained.model, generator), 1):
        after = maps_of(replace(trained, model=model), layers, images, targets, method)
        found += [compare(step, part, name, before[name], after[name]) for name in layers]
    return found


def cascade(model: nn.Module, generator: Generator) -> Iterator[tuple[str, nn.Module]]:
    """The network with its last part's weights drawn anew, then with the one before too, …

    Parts are the modules directly in the network that have weights; `model` stays as it is.
    """
    changed = copy.deepcopy(model)
    parts = [
        (name, part)
        for name, part in reversed(list(changed.named_children()))
        if next(part.parameters(), None) is not None
    ]
    for name, part in progress(parts, "parts drawn anew"):
        redraw(part, generator)
        yield name, changed


@torch.no_grad()
def redraw(part: nn.Module, generator: Generator) -> None:
    """Give convolutions and batch norm weights as before any training.

    Linear layers get He's too; their scale moves no map but those of gradcam++.
    """
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fresh = torch.empty(layer.weight.shape)
            nn.init.kaiming_normal_(fresh, mode="fan_out", nonlinearity="relu", generator=generator)
            layer.weight.copy_(fresh)
            if layer.bias is not None:
                layer.bias.zero_()
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_parameters()


def compare(step: int, redrawn: str, layer: str, before: Maps, after: Maps) -> Check:
    found = rank_correlations(before, after)
    found = found[~np.isnan(found)]
    told: tuple[float | None, float | None] = (None, None)
    if len(found) > 1:
        told = mean_and_error(found)
    no_evidence = float((after == 0).all(axis=(1, 2)).mean())
    return Check(step, redrawn, layer, *told, len(found), no_evidence)


def rank_correlations(first: Maps, second: Maps) -> NDArray[np.float64]:
    """(N,) Spearman's correlation of two maps each, NaN where one of them is flat.

    first, second: (N, H, W).
    """
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    flat = scale == 0
    found: NDArray[np.float64] = (a * b).sum(axis=1) / np.where(flat, np.nan, scale)
    return found
