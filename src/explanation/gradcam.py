"""Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.device import autocast


@contextmanager
def recorded(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of the named layers in the last forward pass, able to carry gradients.

    The model is in evaluation mode inside; its mode and hooks are as before afterwards.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            outputs[name] = output if output.requires_grad else output.requires_grad_()

        return hook

    modes = {module: module.training for module in model.modules()}
    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    try:
        model.eval()
        with torch.enable_grad():
            yield outputs
    finally:
        for handle in hooks:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def grad_cam(
    model: nn.Module,
    layers: Sequence[str],
    images: Tensor,
    targets: Tensor,
    precision: str = "fp32",
) -> dict[str, Tensor]:
    """Evidence for a class, per pixel and layer (eq. 1 and 2).

    images: (B, 3, H, W) normalised; targets: (B,) class indices; precision: that of the
    predictions which are explained.
    Returns for each layer (B, H, W) in [0, 1]; all zero where a class has no positive evidence.
    Raises ValueError for a target outside the model's classes.
    """
    with recorded(model, layers) as outputs:
        with autocast(precision, images.device):
            logits = model(images).float()
        if targets.min() < 0 or targets.max() >= logits.shape[1]:
            raise ValueError(f"targets must be class indices from 0 to {logits.shape[1] - 1}")
        # No image's score depends on another's, so one backward pass serves the batch.
        score = logits.gather(1, targets[:, None]).sum()
        gradients = torch.autograd.grad(score, [outputs[name] for name in layers])
    cams = {}
    for name, gradient in zip(layers, gradients, strict=True):
        weights = gradient.float().mean(dim=(2, 3), keepdim=True)
        cam = (weights * outputs[name].detach().float()).sum(1).relu()
        cams[name] = to_image_size(unit_peak(cam), images)
    return cams


def unit_peak(cam: Tensor) -> Tensor:
    """(B, h, w) scaled so that each map peaks at 1; a zero map stays zero."""
    peak = cam.amax(dim=(1, 2), keepdim=True)
    return torch.where(peak > 0, cam / peak.clamp_min(torch.finfo(cam.dtype).tiny), 0)


def to_image_size(cam: Tensor, images: Tensor) -> Tensor:
    size = images.shape[2:]
    return F.interpolate(cam[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
