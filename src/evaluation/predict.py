"""A network's logits, with test-time augmentation where it is asked for."""

import torch
import torch.nn.functional as F
from torch import Tensor

from src.data.normalize import plain_batches
from src.data.records import Split
from src.device import autocast, memory_for
from src.evaluation.calibration import NoTemperature, fit_temperature
from src.network.weights import Trained
from src.pipeline.progress import progress


def views(images: Tensor, tta: str) -> list[Tensor]:
    """The versions of (B, 3, H, W) images whose logits are averaged.

    none: themselves; mirror: and mirrored; mirror_shift: both, and both shifted by one pixel
    up-left and down-right (the edges reflected).
    """
    if tta == "none":
        return [images]
    mirrored = [images, images.flip(3)]
    if tta == "mirror":
        return mirrored
    height, width = images.shape[2:]
    padded = [F.pad(view, (1, 1, 1, 1), mode="reflect") for view in mirrored]
    shifted = [p[:, :, o : o + height, o : o + width] for p in padded for o in (0, 2)]
    return mirrored + shifted


@torch.no_grad()
def predict(trained: Trained, split: Split, tta: str = "none") -> Tensor:
    """Logits (N, C) in fp32 on the CPU, the mean over the views of test-time augmentation."""
    logits = []
    for images, _ in progress(list(plain_batches(split)), "batches evaluated"):
        with memory_for(f"evaluation of {len(images)} images at a time"):
            inputs = trained.normalize(images)
            with autocast(trained.precision, inputs.device):
                outputs = [trained.model(view).float() for view in views(inputs, tta)]
            logits.append(torch.stack(outputs).mean(0))
    return torch.cat(logits).cpu()


def held_out_temperature(trained: Trained, validation: Split | None) -> float | None:
    """The temperature that suits images which were not trained on.

    None where there are none, or where they tell no temperature; the latter is printed.
    """
    if validation is None:
        return None
    try:
        return fit_temperature(predict(trained, validation), torch.from_numpy(validation.labels))
    except NoTemperature as why:
        print(f"no temperature is fitted, because the {len(validation):,} validation images {why}")
        return None
