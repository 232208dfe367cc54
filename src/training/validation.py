"""Loss and accuracy on the validation split at the end of each epoch."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from src.data.normalize import Normalize, plain_batches, resize
from src.data.records import Split
from src.device import autocast, memory_for


@torch.no_grad()
def validate(
    model: nn.Module,
    split: Split,
    normalize: Normalize,
    precision: str,
    side: int,
    check_stop: Callable[[], None],
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a split, with the model in evaluation mode.

    side: the images' side in pixels; check_stop: called before each batch; it raises to stop.
    """
    model.eval()
    loss = torch.zeros((), device=normalize.device)
    correct = torch.zeros((), device=normalize.device)
    for images, labels_cpu in plain_batches(split):
        check_stop()
        with memory_for(f"validation on {len(images)} images at a time"):
            labels = labels_cpu.to(normalize.device)
            with autocast(precision, normalize.device):
                logits = model(resize(normalize(images), side)).float()
            loss += F.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
    model.train()
    return loss.item() / len(split), correct.item() / len(split)
