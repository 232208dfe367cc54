"""Training's convolutions of small images as matrix products: on a CPU several times as fast.

oneDNN's kernels pass all weights by each image in turn. Where an image is 4×4 pixels or fewer,
512 channels' weights are over a hundred times its size, and memory traffic sets the pace. A
product over the whole batch reads them once. It also leaves out the taps that fall on padding,
where oneDNN multiplies with zeros: 31% of a 3×3 kernel's taps at 4×4 pixels, 56% at 2×2
(benchmarks/NOTES.md has what it gains).
"""

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

# The side of an output, in pixels, up to which the product was faster. In fp32 torch multiplies
# by MKL, whose pace on AMD's processors is half of oneDNN's.
SMALL = {torch.bfloat16: 4, torch.float32: 2}


def outputs_of(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def taps_inside(size: int, kernel: int, stride: int, padding: int) -> list[tuple[slice, slice]]:
    """Along one axis: each run of outputs that see the same taps, and those taps."""

    def seen(output: int) -> tuple[int, int]:
        start = output * stride - padding
        return max(0, -start), min(kernel, size - start)

    outputs = range(outputs_of(size, kernel, stride, padding))
    runs = [(taps, list(run)) for taps, run in groupby(outputs, seen)]
    return [(slice(run[0], run[-1] + 1), slice(*taps)) for taps, run in runs]


def outputs_inside(size: int, tap: int, kernel: int, stride: int, padding: int) -> slice:
    """Along one axis: the outputs for which a tap falls within the image, perhaps none."""
    outputs = range(outputs_of(size, kernel, stride, padding))
    inside = [o for o in outputs if 0 <= o * stride - padding + tap < size]
    return slice(inside[0], inside[-1] + 1) if inside else slice(0, 0)


def inputs(outputs: slice, taps: slice, stride: int, padding: int) -> slice:
    """Along one axis: from the first input that outputs see by taps to the last."""
    if outputs.start == outputs.stop:
        return slice(0, 0)
    first = outputs.start * stride - padding + taps.start
    return slice(first, (outputs.stop - 1) * stride - padding + taps.stop)


def product(images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """(B, C, H, W) images and (kernel, kernel, C, O) weights to (B, O, h, w)."""
    batch, _, height, width = images.shape
    kernel, _, _, out_channels = weight.shape
    geometry = (kernel, stride, padding)
    size = [outputs_of(side, *geometry) for side in (height, width)]
    result = images.new_empty(batch, *size, out_channels)
    images_bhwc = images.permute(0, 2, 3, 1)
    for columns, across in taps_inside(width, *geometry):
        # A copy where it is a part: then any run of rows of it is one matrix.
        narrow = weight[:, across].clone() if across != slice(0, kernel) else weight
        for rows, down in taps_inside(height, *geometry):
            seen = images_bhwc[
                :, inputs(rows, down, stride, padding), inputs(columns, across, stride, padding)
            ]
            windows = seen.unfold(1, down.stop - down.start, stride)
            windows = windows.unfold(2, across.stop - across.start, stride)
            patches = windows.permute(0, 1, 2, 4, 5, 3)
            shape = patches.shape[:3]
            matrix = patches.reshape(shape.numel(), -1)
            result[:, rows, columns] = (matrix @ narrow[down].flatten(0, 2)).view(*shape, -1)
    return result.permute(0, 3, 1, 2)


def weight_gradient(
    images: Tensor, gradient: Tensor, kernel: int, stride: int, padding: int
) -> Tensor:
    """(O, C, kernel, kernel): for each tap one product over the pixels that it sees."""
    images_bhwc, gradient_bhwc = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    height, width, channels = images_bhwc.shape[1:]
    out_channels = gradient.shape[1]
    geometry = (kernel, stride, padding)
    result = images.new_empty(out_channels, kernel, kernel, channels)
    for down in range(kernel):
        rows = outputs_inside(height, down, *geometry)
        seen_rows = inputs(rows, slice(down, down + 1), stride, padding)
        for across in range(kernel):
            columns = outputs_inside(width, across, *geometry)
            seen_columns = inputs(columns, slice(across, across + 1), stride, padding)
            seen = images_bhwc[:, seen_rows, seen_columns][:, ::stride, ::stride]
            told = gradient_bhwc[:, rows, columns]
            result[:, down, across] = told.flatten(0, 2).t() @ seen.flatten(0, 2)
    return result.permute(0, 3, 1, 2)


class ProductConvolution(torch.autograd.Function):
    """F.conv2d without bias, up to rounding; forward and each gradient round once."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return product(images, weight.permute(2, 3, 1, 0), stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            to_images = images_gradient(images.shape, weight, gradient, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            kernel = weight.shape[-1]
            to_weight = weight_gradient(images, gradient, kernel, ctx.stride, ctx.padding)
        return to_images, to_weight, None, None


def images_gradient(
    shape: torch.Size, weight: Tensor, gradient: Tensor, stride: int, padding: int
) -> Tensor:
    """The gradient for (B, C, H, W) images: at stride 1 a convolution with the kernel turned."""
    if stride > 1:
        return conv2d_input(shape, weight, gradient, stride, padding)
    # (kernel, kernel, out, in): rows move whole, which a transpose to (…, in, out) would not.
    turned = weight.flip(2, 3).permute(2, 3, 0, 1).contiguous()
    return product(gradient, turned, 1, weight.shape[-1] - 1 - padding)


# Named as torch's, because plots/model.txt lists layers by the names of their classes.
class Conv2d(nn.Conv2d):
    """(B, C, H, W) to (B, O, h, w): a convolution that takes the faster way in training.

    In evaluation batches are large and weights need no gradient; there torch's own is faster.
    """

    def forward(self, images: Tensor) -> Tensor:
        stride, padding, kernel = self.stride[0], int(self.padding[0]), self.kernel_size[0]
        side = outputs_of(max(images.shape[2:]), kernel, stride, padding)
        autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if autocast else images.dtype
        if not self.training or images.device.type != "cpu" or side > SMALL.get(dtype, 0):
            return super().forward(images)
        result: Tensor = ProductConvolution.apply(
            images.to(dtype), self.weight.to(dtype), stride, padding
        )
        return result


def use_products(model: nn.Module) -> None:
    """Let a model's convolutions take the faster way; parameters and names stay."""
    for module in model.modules():
        if type(module) is nn.Conv2d and is_plain(module):
            module.__class__ = Conv2d


def is_plain(conv: nn.Conv2d) -> bool:
    """Whether it is square, without bias, groups or dilation, and pads with some zeros."""
    return (
        conv.bias is None
        and conv.groups == 1
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and all(
            isinstance(x, tuple) and x[0] == x[1]
            for x in (conv.kernel_size, conv.stride, conv.padding)
        )
        # Else some outputs would see no tap inside the image.
        and int(conv.padding[0]) < conv.kernel_size[0]
    )
