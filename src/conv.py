"""Training's convolutions of small images as matrix products: on a CPU several times as fast.

oneDNN's kernels pass all weights by each image in turn. Where an image is 4×4 pixels or fewer,
512 channels' weights are over a hundred times its size, and memory traffic sets the pace. One
product over the whole batch reads them once (benchmarks/NOTES.md has what it gains).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

# The side of an output, in pixels, up to which the product was faster.
SMALL = 4


def patches(images: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """(B, C, H, W) to (B, h, w, kernel·kernel·C): what each output pixel sees."""
    images_bhwc = F.pad(images.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    windows = images_bhwc.unfold(1, kernel, stride).unfold(2, kernel, stride)
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3)


class ProductConvolution(torch.autograd.Function):
    """F.conv2d without bias, up to rounding; forward and each gradient round once."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        seen = patches(images, weight.shape[-1], stride, padding)
        ctx.save_for_backward(seen, weight)
        ctx.shape, ctx.stride, ctx.padding = images.shape, stride, padding
        return F.linear(seen, weight.permute(0, 2, 3, 1).flatten(1)).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        seen, weight = ctx.saved_tensors
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            to_images = images_gradient(ctx.shape, weight, gradient, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            out_channels, in_channels, kernel, _ = weight.shape
            rows = gradient.permute(0, 2, 3, 1).reshape(-1, out_channels)
            product = rows.t() @ seen.flatten(0, 2)
            shape = (out_channels, kernel, kernel, in_channels)
            to_weight = product.view(shape).permute(0, 3, 1, 2)
        return to_images, to_weight, None, None


def images_gradient(
    shape: torch.Size, weight: Tensor, gradient: Tensor, stride: int, padding: int
) -> Tensor:
    """The gradient for (B, C, H, W) images: at stride 1 a convolution with the kernel turned."""
    if stride > 1:
        return conv2d_input(shape, weight, gradient, stride, padding)
    kernel = weight.shape[-1]
    seen = patches(gradient, kernel, 1, kernel - 1 - padding)
    # (kernel·kernel·out, in): rows move whole, which a transpose to (in, …) would not.
    turned = weight.flip(2, 3).permute(2, 3, 0, 1).flatten(0, 2)
    return (seen @ turned).permute(0, 3, 1, 2)


# Named as torch's, because plots/model.txt lists layers by the names of their classes.
class Conv2d(nn.Conv2d):
    """(B, C, H, W) to (B, O, h, w): a convolution that takes the faster way in training.

    In evaluation batches are large and weights need no gradient; there torch's own is faster.
    """

    def forward(self, images: Tensor) -> Tensor:
        stride, padding, kernel = self.stride[0], int(self.padding[0]), self.kernel_size[0]
        side = (max(images.shape[2:]) + 2 * padding - kernel) // stride + 1
        if not self.training or images.device.type != "cpu" or side > SMALL:
            return super().forward(images)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            images, weight = images.to(dtype), weight.to(dtype)
        result: Tensor = ProductConvolution.apply(images, weight, stride, padding)
        return result


def use_products(model: nn.Module) -> None:
    """Let a model's convolutions take the faster way; parameters and names stay."""
    for module in model.modules():
        if type(module) is nn.Conv2d and is_plain(module):
            module.__class__ = Conv2d


def is_plain(conv: nn.Conv2d) -> bool:
    """Whether it is square, without bias, groups or dilation, and pads with zeros."""
    return (
        conv.bias is None
        and conv.groups == 1
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and all(
            isinstance(x, tuple) and x[0] == x[1]
            for x in (conv.kernel_size, conv.stride, conv.padding)
        )
    )
