"""What training, the range test and the benchmarks share: the optimizer, a resize, a validation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.data.batches import Normalize, plain_batches
from src.data.records import Split
from src.device import autocast
from src.pipeline.errors import InputError
from src.pipeline.params import Params

EVAL_BATCH = 500


def make_optimizer(model: nn.Module, params: Params, lr: float) -> torch.optim.SGD:
    """Fused SGD with its momentum buffers already there, all zero."""
    settings = params.optimizer
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    # A first step that found_inf skips would else leave the buffers unwritten.
    for parameter in model.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@contextmanager
def memory_for(images: int) -> Iterator[None]:
    """InputError where the device has not the memory for a step of so many images."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"train.batch_size: a step of {images:,} images does not fit the device's memory; "
            "lower it (params.yaml)"
        ) from error


def resize(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) shrunk to (B, 3, side, side), channels last."""
    if images.shape[-1] == side:
        return images
    small = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    return small.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def validate(
    model: nn.Module,
    split: Split,
    normalize: Normalize,
    precision: str,
    side: int,
    check_stop: Callable[[], None],
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a split, in evaluation mode, at a side in pixels.

    check_stop: called before each batch; it raises where training was asked to stop.
    """
    model.eval()
    loss = torch.zeros((), device=normalize.device)
    correct = torch.zeros((), device=normalize.device)
    for images, labels_cpu in plain_batches(split, EVAL_BATCH):
        check_stop()
        labels = labels_cpu.to(normalize.device)
        with autocast(precision, normalize.device):
            logits = model(resize(normalize(images), side)).float()
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    model.train()
    return loss.item() / len(split), correct.item() / len(split)
