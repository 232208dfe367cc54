"""How much the prediction rests on the pixels that a map names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from src.data.records import Split
from src.device import memory_for
from src.explanation.controls import (
    Indices,
    Maps,
    comparable,
    edge_maps,
    others_of_class,
    random_maps,
)
from src.explanation.curves import Curves, Trial, log_odds
from src.explanation.imputation import Images, fills
from src.explanation.leads import CONTROLS, OWN, SAME_CLASS, Lead, Point, leads_of, points_of
from src.explanation.maps import own_and_others
from src.network.weights import Trained
from src.pipeline.progress import progress

# The same draws in every run, so that two networks are compared on the same pixels.
SEED = 0
MEND = "lower gradcam.faithfulness_images (params.yaml)"


@dataclass(frozen=True)
class Faithfulness:
    """What was measured, over how many images; 0 where nothing could be."""

    images: int
    points: Sequence[Point]
    leads: Sequence[Lead]


def measure(
    trained: Trained,
    sizes: Mapping[str, tuple[int, int]],
    test: Split,
    predicted: Indices,
    count: int,
    others: int,
    method: str,
) -> Faithfulness:
    """Deletion and insertion curves of each layer's maps and of four controls.

    sizes: the layers to measure, with height and width of their maps;
    predicted: (N,) classes that the network said of the test images, and that the maps explain;
    count: how many of the images, at least 2; others: how many more images of an image's class
    give the mean map that its own is compared with.

    A curve is the log-odds of the predicted class while eighths of the pixels are deleted, or
    shown, in the order of a map (Petsiuk et al. 2018). Removed pixels are blurred, or imputed
    from their neighbours (Rong et al. 2022). The controls, on the same images: the mean map
    of other images of the same predicted class, blobs of the layer's own resolution, pixels in
    random order, edges. Nothing is measured where fewer than two images have such others, as
    where each class has one test image and the network is right.
    """
    rows = comparable(predicted, count)
    if len(rows) < 2:
        return Faithfulness(0, [], [])
    draws = np.random.default_rng(SEED)
    chosen = others_of_class(predicted, rows, others, SEED)
    with memory_for(f"faithfulness of {len(rows):,} images", MEND):
        maps = own_and_others(trained, list(sizes), test, predicted, rows, chosen, method)
        images, trial = prepare(trained, test.images[rows], predicted[rows], draws)
        curves = curves_by_layer(maps, sizes, images, trial, draws)
    points = [point for name, each in curves.items() for point in points_of(name, each)]
    leads = [lead for name, each in curves.items() for lead in leads_of(name, each)]
    return Faithfulness(len(rows), points, leads)


def prepare(
    trained: Trained, pixels: NDArray[np.uint8], predicted: Indices, draws: Generator
) -> tuple[Images, Trial]:
    """The images (n, H, W, 3) normalised, and what their maps are tried with."""
    inputs = trained.normalize(torch.from_numpy(pixels))
    images = inputs.permute(0, 2, 3, 1).cpu().numpy()
    targets = torch.from_numpy(predicted)
    whole = log_odds(trained, images, targets)
    ties = draws.random(images.shape[:3])
    return images, Trial(trained, targets, whole, ties, fills(images, draws))


def curves_by_layer(
    maps: Mapping[str, tuple[Maps, Maps]],
    sizes: Mapping[str, tuple[int, int]],
    images: Images,
    trial: Trial,
    draws: Generator,
) -> dict[str, dict[str, Curves]]:
    """For each layer the curves of its own maps and of the controls, by name.

    maps: own maps (n, H, W), and those of others of the class; sizes: the layers' resolutions.
    """
    count, full = len(images), images.shape[1:3]
    tried = {"pixels": random_maps(count, full, full, draws), "edges": edge_maps(images)}
    for name, (own, of_class) in maps.items():
        tried |= {f"{name} {OWN}": own, f"{name} {SAME_CLASS}": of_class}
        # At full resolution blobs are pixels.
        if sizes[name] != full:
            tried[f"{name} blobs"] = random_maps(count, sizes[name], full, draws)
    kinds = progress(list(tried), "kinds of maps tried")
    curves = {kind: trial.curves(tried[kind]) for kind in kinds}
    common = {"blobs": curves["pixels"], "pixels": curves["pixels"], "edges": curves["edges"]}
    return {
        name: {of: curves.get(f"{name} {of}") or common[of] for of in (OWN, *CONTROLS)}
        for name in maps
    }
