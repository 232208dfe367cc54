"""Training's convolutions as matrix products, where that makes a CPU faster.

A convolution of small images becomes one product over the whole batch. The product reads the
weights once, and it leaves out the taps that fall on padding: 31% of a 3×3 kernel's taps at 4×4
pixels, 56% at 2×2. oneDNN multiplies those taps with zeros, and with 512 channels and so few pixels
it stays far below the processor's peak. Larger images in fp32 go through src/network/winograd.py.
benchmarks/NOTES.md has the gains.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from src.network import winograd

# The side of an output, in pixels, up to which the product was faster.
SMALL = {torch.bfloat16: 4, torch.float32: 3}
# The types that autocast converts into each other.
CASTABLE = {torch.float32, torch.bfloat16, torch.float16}


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution: which outputs see which inputs by which taps of the kernel."""

    size: int
    kernel: int
    stride: int
    padding: int

    @property
    def outputs(self) -> range:
        return range((self.size + 2 * self.padding - self.kernel) // self.stride + 1)

    def taps(self, output: int) -> slice:
        """The taps with which an output sees the image, not its padding."""
        first = output * self.stride - self.padding
        return slice(max(0, -first), min(self.kernel, self.size - first))

    def runs(self) -> list[tuple[slice, slice]]:
        """Each run of outputs that see by the same taps, and those taps."""
        runs = [list(run) for _, run in groupby(self.outputs, self.taps)]
        return [(slice(run[0], run[-1] + 1), self.taps(run[0])) for run in runs]

    def seeing(self, tap: int) -> slice:
        """The outputs that see the image by a tap, perhaps none."""
        seeing = [o for o in self.outputs if self.taps(o).start <= tap < self.taps(o).stop]
        return slice(seeing[0], seeing[-1] + 1) if seeing else slice(0, 0)

    def seen(self, outputs: slice, taps: slice) -> slice:
        """From the first input that outputs see by taps to the last."""
        if outputs.start == outputs.stop:
            return slice(0, 0)
        first = outputs.start * self.stride - self.padding + taps.start
        return slice(first, (outputs.stop - 1) * self.stride - self.padding + taps.stop)


def product(images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """(B, C, H, W) images and (kernel, kernel, C, O) weights to (B, O, h, w)."""
    kernel, _, _, out_channels = weight.shape
    images_bhwc = images.permute(0, 2, 3, 1)
    down, across = (Axis(side, kernel, stride, padding) for side in images.shape[2:])
    shape = (len(images), len(down.outputs), len(across.outputs), out_channels)
    result_bhwo = images.new_empty(shape)
    for columns, column_taps in across.runs():
        # A part is copied, so that any run of its rows is one matrix.
        whole = column_taps == slice(0, kernel)
        narrow = weight if whole else weight[:, column_taps].clone()
        for rows, row_taps in down.runs():
            seen = images_bhwc[:, down.seen(rows, row_taps), across.seen(columns, column_taps)]
            windows = seen.unfold(1, row_taps.stop - row_taps.start, stride)
            windows = windows.unfold(2, column_taps.stop - column_taps.start, stride)
            patches = windows.permute(0, 1, 2, 4, 5, 3).flatten(3)
            outputs = patches.flatten(0, 2) @ narrow[row_taps].flatten(0, 2)
            result_bhwo[:, rows, columns] = outputs.view(*patches.shape[:3], out_channels)
    return result_bhwo.permute(0, 3, 1, 2)


def weight_gradient(
    images: Tensor, gradient: Tensor, kernel: int, stride: int, padding: int
) -> Tensor:
    """(O, C, kernel, kernel): for each tap one product over the pixels that it sees."""
    images_bhwc, gradient_bhwo = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    down, across = (Axis(side, kernel, stride, padding) for side in images.shape[2:])
    result = images.new_empty(gradient.shape[1], kernel, kernel, images.shape[1])
    for i in range(kernel):
        rows = down.seeing(i)
        seen_rows = images_bhwc[:, down.seen(rows, slice(i, i + 1))][:, ::stride]
        for j in range(kernel):
            columns = across.seeing(j)
            seen = seen_rows[:, :, across.seen(columns, slice(j, j + 1))][:, :, ::stride]
            given = gradient_bhwo[:, rows, columns]
            result[:, i, j] = given.flatten(0, 2).t() @ seen.flatten(0, 2)
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

    In evaluation batches are large and weights need no gradient, so torch's own is faster there.
    Input that torch refuses, or that has no batch dimension, goes to torch's own too.
    """

    def forward(self, images: Tensor) -> Tensor:
        dtype = self.common_dtype(images)
        if not self.training or dtype is None or not self.has_outputs(images):
            return super().forward(images)
        stride, padding = self.stride[0], int(self.padding[0])
        side = max(len(axis.outputs) for axis in self.axes(images))
        result: Tensor
        if side <= SMALL.get(dtype, 0):
            operands = images.to(dtype), self.weight.to(dtype)
            result = ProductConvolution.apply(*operands, stride, padding)
        elif dtype == torch.float32 and winograd.pays(self, images):
            result = winograd.WinogradConvolution.apply(images, self.weight)
        else:
            result = super().forward(images)
        return result

    def common_dtype(self, images: Tensor) -> torch.dtype | None:
        """The type that torch would compute in; None where it refuses, or not on a CPU."""
        if images.device.type != "cpu" or self.weight.device.type != "cpu":
            return None
        dtypes = {images.dtype, self.weight.dtype}
        # Autocast leaves whole numbers and float64 as they are.
        if torch.is_autocast_enabled("cpu") and dtypes <= CASTABLE:
            return torch.get_autocast_dtype("cpu")
        return images.dtype if len(dtypes) == 1 else None

    def has_outputs(self, images: Tensor) -> bool:
        """Whether these are (B, C, H, W) images that torch accepts, and the result is not empty."""
        return (
            images.dim() == 4
            and images.shape[1] == self.in_channels
            and images.numel() > 0
            and all(axis.outputs for axis in self.axes(images))
        )

    def axes(self, images: Tensor) -> tuple[Axis, Axis]:
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = images.shape[2:]
        return Axis(height, kernel, stride, padding), Axis(width, kernel, stride, padding)


def use_products(model: nn.Module) -> None:
    """Let a model's convolutions take the faster way; parameters and names stay the same."""
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
        # With more padding some outputs would see no tap inside the image.
        and int(conv.padding[0]) < conv.kernel_size[0]
    )
