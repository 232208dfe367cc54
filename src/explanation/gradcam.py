"""Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) and three methods that weigh otherwise.

Each map is the positive part of a weighted sum of a layer's channels. The methods differ in the
weights alone: one a channel, or one for each channel and pixel.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.device import autocast


def mean_gradient(gradient: Tensor, _: Tensor) -> Tensor:
    """Grad-CAM, eq. 1: the mean of a channel's gradient."""
    return gradient.mean(dim=(2, 3), keepdim=True)


def weighted_positive_gradient(gradient: Tensor, features: Tensor) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, arXiv 1710.11063): Σ α relu(g), with α of eq. 19.

    α = g² / (2g² + g³ ΣA), for a score that passes through exp; here it is divided by g², which
    would vanish in fp32 where g is small. It is 0 where it is not defined.
    """
    denominator = 2 + gradient * features.sum(dim=(2, 3), keepdim=True)
    alpha = torch.where(denominator == 0, 0, 1 / denominator)
    return (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)


def gradient_itself(gradient: Tensor, _: Tensor) -> Tensor:
    """HiResCAM (Draelos & Carin 2020, arXiv 2011.08891): each pixel has its own gradient."""
    return gradient


def positive_gradient(gradient: Tensor, _: Tensor) -> Tensor:
    """LayerCAM (Jiang et al. 2021, IEEE TIP 30, pp. 5875-5888): gradients above 0."""
    return gradient.relu()


# (B, C, h, w) gradients and features to weights, (B, C, 1, 1) or (B, C, h, w).
WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": mean_gradient,
    "gradcam++": weighted_positive_gradient,
    "hirescam": gradient_itself,
    "layercam": positive_gradient,
}


@contextmanager
def recorded(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of the named layers in the last forward pass, able to carry gradients.

    Of a module that is called several times, such as a block's relu, the last output counts.
    The model is in evaluation mode inside; its mode and hooks are as before afterwards.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            outputs[name] = output if output.requires_grad else output.requires_grad_()
            # The network goes on with a copy, because a block adds to its bn2's output in place.
            return outputs[name].clone()

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
    method: str = "gradcam",
) -> dict[str, Tensor]:
    """Evidence for a class, per pixel and layer (Grad-CAM's eq. 2, with the method's weights).

    images: (B, 3, H, W) normalised; targets: (B,) class indices; precision: that of the
    predictions which are explained; method: a name in WEIGHTS.
    Returns for each layer (B, H, W) that peaks at 1; all zero where a class has no positive
    evidence.
    Raises ValueError for a target outside the model's classes.
    """
    weigh = WEIGHTS[method]
    with recorded(model, layers) as outputs:
        with autocast(precision, images.device):
            logits = model(images).float()
        if targets.min() < 0 or targets.max() >= logits.shape[1]:
            raise ValueError(f"targets must be class indices from 0 to {logits.shape[1] - 1}")
        # No image's score depends on another's, so one backward pass serves the batch.
        score = logits.gather(1, targets[:, None]).sum()
        # A head beside the one that is used, say, has no part in the score.
        gradients = torch.autograd.grad(
            score, [outputs[name] for name in layers], allow_unused=True, materialize_grads=True
        )
    cams = {}
    for name, gradient in zip(layers, gradients, strict=True):
        features = outputs[name].detach().float()
        cam = (weigh(gradient.float(), features) * features).sum(1).relu()
        # Enlarging lowers a peak of one pixel, so it comes first.
        cams[name] = unit_peak(to_image_size(cam, images))
    return cams


def unit_peak(cam: Tensor) -> Tensor:
    """(B, h, w) scaled so that each map peaks at 1; a zero map stays zero."""
    peak = cam.amax(dim=(1, 2), keepdim=True)
    return torch.where(peak > 0, cam / peak.clamp_min(torch.finfo(cam.dtype).tiny), 0)


def to_image_size(cam: Tensor, images: Tensor) -> Tensor:
    size = images.shape[2:]
    return F.interpolate(cam[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
