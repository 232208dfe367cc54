"""3×3 convolutions with a quarter of the multiplications (Lavin & Gray 2015, arXiv 1509.09308).

Winograd's F(4×4, 3×3) computes a 4×4 tile of outputs as Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, where g is
the 3×3 kernel and d the 6×6 tile of the image that reaches one pixel further on each side. The
product ⊙ takes 36 multiplications instead of 144. At each of its 36 places, the multiplications
over all tiles and channels form one matrix product. The transforms around ⊙ are additions, and
memory sets their pace. So they take a few images at a time, in tensors that stay in the
processor's cache.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TILE = 4
PLACES = TILE + 2  # along one axis
# Tiles that each thread transforms at a time: with fewer, starting the threads costs more than
# the additions; more outgrow the cache.
TILES = 128
# With fewer channels the transforms cost more than the products save.
MIN_CHANNELS = 64
# The forward pass needs more; in the backward pass one transform serves both gradients.
MIN_FORWARD_CHANNELS = 128
# Only AVX2 was measured. AVX-512 multiplies twice as fast, but does not make memory faster.
MEASURED = torch.backends.cpu.get_cpu_capability() == "AVX2"

# 24 G, in whole numbers, and G ⊗ G, which turns nine taps, row by row, into 36 places.
KERNEL_AXIS = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
)
KERNEL = torch.kron(KERNEL_AXIS, KERNEL_AXIS) / 24**2


def pays(conv: nn.Conv2d, images: Tensor) -> bool:
    """Whether this algorithm can train on (B, C, H, W) images and is faster.

    conv: a layer in fp32 that is_plain in src/network/conv.py accepts.
    """
    return (
        MEASURED
        and (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
        and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
        and images.shape[2] % TILE == images.shape[3] % TILE == 0
    )


class Scratch:
    """Tensors by name and shape that each run of images overwrites, so they stay in the cache.

    Functions share them, so only "overlapping" may be read after a call of another function.
    """

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.tensors: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def get(self, name: str, *shape: int) -> Tensor:
        if (name, shape) not in self.tensors:
            self.tensors[name, shape] = self.like.new_empty(shape)
        return self.tensors[name, shape]


def transform_input(d: Sequence[Tensor], out: Tensor, scratch: Scratch) -> None:
    """Transform six values of a tile to six places along one axis; the paper's Bᵀd."""
    even, odd, edge = (scratch.get(name, *d[0].shape) for name in ("even", "odd", "edge"))
    torch.add(d[4], d[2], alpha=-4, out=even)
    torch.add(d[3], d[1], alpha=-4, out=odd)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.add(even, odd, alpha=-2, out=out[4])
    torch.add(even, torch.sub(d[0], d[2], out=edge), alpha=4, out=out[0])
    torch.add(torch.sub(d[5], d[3], out=edge), odd, alpha=-4, out=out[5])


def transform_output(m: Sequence[Tensor], out: Tensor, scratch: Scratch) -> None:
    """Transform six places to four outputs along one axis; the paper's Aᵀm."""
    names = ("even", "odd", "even_2", "odd_2")
    even, odd, even_2, odd_2 = (scratch.get(name, *m[0].shape) for name in names)
    torch.add(m[1], m[2], out=even)
    torch.sub(m[1], m[2], out=odd)
    torch.add(m[3], m[4], out=even_2)
    torch.sub(m[3], m[4], out=odd_2)
    torch.add(odd, odd_2, alpha=2, out=out[1])
    torch.add(even, even_2, alpha=4, out=out[2])
    torch.add(even.add_(m[0]), even_2, out=out[0])
    torch.add(odd.add_(m[5]), odd_2, alpha=8, out=out[3])


def transform_tile(y: Sequence[Tensor], out: Tensor, scratch: Scratch) -> None:
    """Transform four values to six places along one axis: Ay, `transform_output` transposed."""
    even, odd = (scratch.get(name, *y[0].shape) for name in ("even", "odd"))
    out[0].copy_(y[0])
    torch.add(y[0], y[2], out=even)
    torch.add(y[1], y[3], out=odd)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.add(y[0], y[2], alpha=4, out=even)
    torch.add(y[1], y[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.add(even, odd, alpha=-2, out=out[4])
    out[5].copy_(y[3])


def overlapping(images: Tensor, scratch: Scratch) -> Tensor:
    """Transform 4×4 tiles with a pixel around each: (B, H, W, C) to (36, B·h·w, C)."""
    count, height, width, channels = images.shape
    rows, columns = height // TILE, width // TILE
    padded = scratch.get("padded", count, height + 2, width + 2, channels)
    padded[:, :: height + 1] = 0
    padded[:, :, :: width + 1] = 0
    padded[:, 1:-1, 1:-1] = images
    across = scratch.get("across", PLACES, count, height + 2, columns, channels)
    transform_input(padded.unfold(2, PLACES, TILE).unbind(-1), across, scratch)
    places = scratch.get("overlapping", PLACES, PLACES, count, rows, columns, channels)
    transform_input(across.unfold(2, PLACES, TILE).unbind(-1), places, scratch)
    return places.view(PLACES**2, -1, channels)


def side_by_side(images: Tensor) -> Tensor:
    """View the 4×4 tiles of (B, H, W, C) as (4, 4, B, h, w, C)."""
    return images.unflatten(2, (-1, TILE)).unflatten(1, (-1, TILE)).permute(2, 4, 0, 1, 3, 5)


def separate(images: Tensor, scratch: Scratch) -> Tensor:
    """Transform 4×4 tiles for the weights' gradient: (B, H, W, C) to (36, B·h·w, C)."""
    tiles = side_by_side(images)
    across = scratch.get("across", PLACES, TILE, *tiles.shape[2:])
    transform_tile(tiles.unbind(1), across, scratch)
    places = scratch.get("separate", PLACES, PLACES, *tiles.shape[2:])
    transform_tile(across.unbind(1), places, scratch)
    return places.view(PLACES**2, -1, images.shape[-1])


def multiply(places: Tensor, kernels: Tensor, result: Tensor, scratch: Scratch) -> None:
    """Multiply (36, B·h·w, C) places by (36, C, O) kernels into result, (B, H, W, O)."""
    tiles = side_by_side(result)
    products = scratch.get("products", PLACES, PLACES, *tiles.shape[2:])
    torch.bmm(places, kernels, out=products.view(*places.shape[:2], -1))
    down = scratch.get("down", TILE, PLACES, *tiles.shape[2:])
    transform_output(products.unbind(0), down, scratch)
    transform_output(down.unbind(1), tiles.transpose(0, 1), scratch)


def runs(images: Tensor) -> list[slice]:
    """Split a (B, H, W, C) batch into runs of images whose tiles fit the cache."""
    count, height, width, _ = images.shape
    step = -(-torch.get_num_threads() * TILES * TILE**2 // (height * width))
    return [slice(start, start + step) for start in range(0, count, step)]


def transform_kernels(weight: Tensor) -> Tensor:
    """Transform kernels (O, C, 3, 3) to (36, O, C)."""
    taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return (KERNEL.to(weight.dtype) @ taps).view(-1, *weight.shape[:2])


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """Convolve (B, C, H, W) images with (O, C, 3, 3) weights to (B, O, H, W)."""
    images_bhwc = images.permute(0, 2, 3, 1)
    kernels = transform_kernels(weight).transpose(1, 2)
    result = images.new_empty(*images_bhwc.shape[:3], len(weight))
    scratch = Scratch(images)
    for run in runs(images_bhwc):
        multiply(overlapping(images_bhwc[run], scratch), kernels, result[run], scratch)
    return result.permute(0, 3, 1, 2)


class WinogradConvolution(torch.autograd.Function):
    """F.conv2d(images, weight, padding=1) for 3×3 kernels and sides of whole tiles.

    Results differ by rounding. With few channels only the gradients use Winograd's algorithm.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        if min(weight.shape[:2]) < MIN_FORWARD_CHANNELS:
            return F.conv2d(images, weight, padding=1)
        return convolve(images, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both gradients from one transform of the upstream one; training needs both.

        The images' gradient is the upstream gradient convolved with the kernels turned round. The
        weights' gradient is the correlation of images and upstream gradient. It comes out turned
        round, too, because the upstream gradient, not the images, is cut into overlapping tiles.
        """
        images, weight = ctx.saved_tensors
        images_bhwc, gradient_bhwo = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        kernels = transform_kernels(weight.flip(2, 3))
        to_images, to_kernels = torch.empty_like(images_bhwc), torch.zeros_like(kernels)
        scratch = Scratch(images)
        for run in runs(images_bhwc):
            upstream = overlapping(gradient_bhwo[run], scratch)
            multiply(upstream, kernels, to_images[run], scratch)
            to_kernels.baddbmm_(upstream.mT, separate(images_bhwc[run], scratch))
        taps = KERNEL.to(weight.dtype).t() @ to_kernels.flatten(1)
        to_weight = taps.view(3, 3, *weight.shape[:2]).flip(0, 1).permute(2, 3, 0, 1)
        return to_images.permute(0, 3, 1, 2), to_weight
