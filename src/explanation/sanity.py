"""Whether maps depend on what the network learned (Adebayo et al. 2018, arXiv 1810.03292)."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from src.explanation.controls import Indices, Maps
from src.explanation.layers import output_shapes
from src.explanation.leads import mean_and_error
from src.explanation.maps import maps_of
from src.network.weights import Trained
from src.pipeline.progress import progress

# No usual seed: with the network's own, a part might be drawn as it was before training.
SEED = 181003292
# How often the weights are drawn: one draw of a last layer of ten classes moves all maps alike.
DRAWS = 5
LEARNED = "as trained"


class Check(NamedTuple):
    """The maps of a layer when the weights from the top down to some part were drawn anew.

    step: how many parts were; redrawn: the last of them; correlation, error: mean rank correlation
    with the maps as trained, over DRAWS draws and the `images` whose maps are not flat, and its
    standard error, in which the chance of both is; None where there are too few; no_evidence: share
    of all maps that are zero.
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
    untrained: Callable[[int], nn.Module],
    layers: Sequence[str],
    images: NDArray[np.uint8],
    targets: Indices,
    method: str,
) -> list[Check]:
    """How like their maps as trained the maps of each layer are at each step of the cascade.

    untrained: the same network with weights as before any training, from a seed; images:
    (N, H, W, 3); targets: (N,) classes that the maps explain, whatever the weights.
    This is the paper's cascading randomisation. Maps that stay as they were explain the image and
    not the network.
    """
    before = maps_of(trained, layers, images, targets, method)
    found = {(0, LEARNED, name): [compare(before[name], before[name])] * DRAWS for name in layers}
    parts = parts_of(trained.model)
    for draw in progress(range(DRAWS), "draws of the weights"):
        fresh = untrained(SEED + draw)
        for step, (part, model) in enumerate(cascade(trained.model, fresh, parts), 1):
            after = maps_of(replace(trained, model=model), layers, images, targets, method)
            for name in layers:
                place = found.setdefault((step, part, name), [])
                place.append(compare(before[name], after[name]))
    return [check(*place, draws) for place, draws in found.items()]


def parts_of(model: nn.Module) -> list[str]:
    """The modules directly in the network that have weights, from the first that ends to the last.

    model: in evaluation mode. A part ends with the last module in it that does: a list of modules
    computes nothing itself. A part that the network does not use counts as first.
    """
    parts = [name for name, part in model.named_children() if any(True for _ in part.parameters())]
    ended = list(output_shapes(model, [name for name, _ in model.named_modules() if name]))
    return sorted(parts, key=lambda part: last_place(ended, part))


def last_place(names: Sequence[str], part: str) -> int:
    """Of a part and all that lies in it."""
    return max(at for at, name in enumerate(names) if f"{name}.".startswith(f"{part}."))


def cascade(
    model: nn.Module, fresh: nn.Module, parts: Sequence[str]
) -> Iterator[tuple[str, nn.Module]]:
    """The network with its last part's weights taken from `fresh`, then with the one before too, …

    What weights the network has beside its parts go with the last step. `model` stays as it is.
    """
    changed = copy.deepcopy(model)
    for name in reversed(parts):
        whole = name == parts[0]
        into, taken = (each if whole else each.get_submodule(name) for each in (changed, fresh))
        into.load_state_dict(taken.state_dict())
        yield name, changed


class Likeness(NamedTuple):
    """How like (N,) maps are their own after a draw, NaN where one is flat; the share that is 0."""

    correlations: NDArray[np.float64]
    no_evidence: float


def compare(before: Maps, after: Maps) -> Likeness:
    no_evidence = (after == 0).all(axis=(1, 2)).mean()
    return Likeness(rank_correlations(before, after), float(no_evidence))


def check(step: int, redrawn: str, layer: str, draws: Sequence[Likeness]) -> Check:
    found = np.stack([each.correlations for each in draws])
    by_draw, by_image = row_means(found), row_means(found.T)
    told: tuple[float | None, float | None] = (None, None)
    if min(len(by_draw), len(by_image)) > 1:
        mean, error = mean_and_error(by_draw)
        told = mean, math.hypot(error, mean_and_error(by_image)[1])
    no_evidence = float(np.mean([each.no_evidence for each in draws]))
    return Check(step, redrawn, layer, *told, len(by_image), no_evidence)


def row_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row without its NaN; a row of nothing else is left out."""
    some = values[~np.isnan(values).all(axis=1)]
    means: NDArray[np.float64] = np.nanmean(some, axis=1)
    return means


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
