"""The maps of many images at once: their own, and those of others of their class."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from src.data.records import Split
from src.device import memory_for
from src.explanation.controls import Indices, Maps
from src.explanation.gradcam import grad_cam
from src.network.weights import Trained
from src.pipeline.progress import progress

BATCH = 100


def maps_of(
    trained: Trained,
    layers: Sequence[str],
    images: NDArray[np.uint8],
    targets: Indices,
    method: str,
) -> dict[str, Maps]:
    """Each layer's maps (N, H, W), in [0, 1], of images (N, H, W, 3) for their targets (N,)."""
    found: dict[str, list[Maps]] = {name: [] for name in layers}
    for start in progress(range(0, len(images), BATCH), "batches explained"):
        rows = slice(start, start + BATCH)
        with memory_for(f"Grad-CAM of {len(targets[rows])} images at a time"):
            inputs = trained.normalize(torch.from_numpy(images[rows]))
            classes = torch.from_numpy(targets[rows]).to(inputs.device)
            cams = grad_cam(trained.model, layers, inputs, classes, trained.precision, method)
        for name in layers:
            found[name].append(cams[name].cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def own_and_others(
    trained: Trained,
    layers: Sequence[str],
    test: Split,
    predicted: Indices,
    rows: Indices,
    others: Indices,
    method: str,
) -> dict[str, tuple[Maps, Maps]]:
    """Each layer's maps (n, H, W) of n test images, and the mean of the maps of others for each.

    predicted: (N,) the class that each test image is explained for; rows: (n,) and others: (n, K)
    are places in the test set.
    """
    needed = np.unique(np.concatenate([rows, others.ravel()]))
    maps = maps_of(trained, layers, test.images[needed], predicted[needed], method)
    own, partners = np.searchsorted(needed, rows), np.searchsorted(needed, others)
    found = {}
    for name, each in maps.items():
        total = np.zeros_like(each[own])
        for column in partners.T:
            total += each[column]
        found[name] = (each[own], total / partners.shape[1])
    return found
