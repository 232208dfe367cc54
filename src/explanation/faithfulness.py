"""How much the prediction rests on the pixels that a map names."""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.device import autocast, memory_for
from src.explanation.gradcam import grad_cam
from src.network.weights import Trained

DELETED = 0.2
BATCH = 100


@torch.no_grad()
def probability(trained: Trained, images: Tensor, targets: Tensor) -> Tensor:
    """(B,) probability of each image's target class."""
    with autocast(trained.precision, images.device):
        logits = trained.model(images).float()
    return logits.softmax(1).gather(1, targets[:, None])[:, 0]


def delete(images: Tensor, cam: Tensor) -> Tensor:
    """The images with the pixels where the map is highest set to the mean colour.

    A fifth of the pixels (of a map that ties, those that come first).
    """
    flat = cam.flatten(1)
    count = round(DELETED * flat.shape[1])
    order = flat.argsort(dim=1, descending=True, stable=True)[:, :count]
    keep = torch.ones_like(flat).scatter_(1, order, 0).view_as(cam)
    # Normalised images have the mean colour at zero.
    return images * keep[:, None]


def faithfulness(
    trained: Trained, layers: Sequence[str], images: Tensor, targets: Tensor
) -> dict[str, float]:
    """How much the target's probability falls when the pixels that a map names are deleted.

    images: (B, 3, H, W), B at least 2. Under each layer's name the mean drop; under the name and
    "_other" the drop when the pixels come from the map of another image: equal area and shape,
    but no explanation. A faithful map has a drop well above that of the other image's map.
    """
    totals = {name + kind: 0.0 for name in layers for kind in ("", "_other")}
    # Split evenly, so that no image is alone and would be given its own map.
    parts = -(-len(images) // BATCH)
    pairs = zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True)
    for batch, classes in pairs:
        with memory_for(f"faithfulness of {len(batch)} images at a time"):
            before = probability(trained, batch, classes)
            cams = grad_cam(trained.model, layers, batch, classes, trained.precision)
            for name, cam in cams.items():
                for kind, used in (("", cam), ("_other", cam.roll(1, 0))):
                    after = probability(trained, delete(batch, used), classes)
                    totals[name + kind] += (before - after).sum().item()
    return {key: total / len(images) for key, total in totals.items()}
