"""The product gives the convolution's results and gradients, and serves small images."""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.device import DTYPES
from src.network import conv, winograd
from src.network.conv import Axis, Conv2d, ProductConvolution, use_products
from src.network.resnet import build_model
from src.training.history import Row
from tests.tiny import params, train

Convolve = Callable[[Tensor, Tensor], Any]

# (side; kernel, stride, padding)
SHAPES = list(product((1, 2, 3, 4), ((1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1))))
SHAPES += [(3, (3, 1, 0)), (4, (3, 1, 0)), (4, (5, 1, 2)), (2, (5, 1, 4)), (4, (3, 3, 2))]


def test_taps_on_padding_are_left_out() -> None:
    """3×3 at 4 pixels: the first row of outputs leaves out the first tap, the last row the last."""
    assert Axis(size=4, kernel=3, stride=1, padding=1).runs() == [
        (slice(0, 1), slice(1, 3)),
        (slice(1, 3), slice(0, 3)),
        (slice(3, 4), slice(0, 2)),
    ]


def results(convolve: Convolve, images: Tensor, weight: Tensor) -> list[Tensor]:
    """Outputs, and gradients of images and weights."""
    leaves = images.clone().requires_grad_(), weight.clone().requires_grad_()
    output = convolve(*leaves)
    upstream = torch.linspace(-1, 1, output.numel(), dtype=images.dtype).view(output.shape)
    return [output.detach(), *torch.autograd.grad(output, leaves, upstream)]


def both(
    side: int, kernel: int, stride: int, padding: int, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """The `results` of torch's convolution and of the product."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 7, side, side + 1, generator=generator, dtype=dtype)
    weight = torch.randn(6, 7, kernel, kernel, generator=generator, dtype=dtype)
    directly = partial(nn.functional.conv2d, stride=stride, padding=padding)

    def by_product(images: Tensor, weight: Tensor) -> Any:
        return ProductConvolution.apply(images, weight, stride, padding)

    return results(directly, images, weight), results(by_product, images, weight)


@pytest.mark.parametrize(("side", "shape"), SHAPES)
def test_results_and_gradients_are_those_of_the_convolution(
    side: int, shape: tuple[int, int, int]
) -> None:
    for expected, found in zip(*both(side, *shape, torch.float64), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_any_memory_format(memory_format: torch.memory_format) -> None:
    images = torch.randn(4, 8, 3, 3).to(memory_format=memory_format)
    layer = nn.Conv2d(8, 16, 3, padding=1, bias=False)
    expected = layer(images)
    layer.to(memory_format=memory_format)  # type: ignore[call-overload]
    use_products(layer)
    torch.testing.assert_close(layer(images), expected)


def shapes_seen(
    function: type[torch.autograd.Function], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, ...]]:
    """The shapes of the images to which the function is applied from now on."""
    shapes = []
    apply = function.apply

    def note(images: Tensor, *rest: Any) -> Any:
        shapes.append(tuple(images.shape))
        return apply(images, *rest)

    monkeypatch.setattr(function, "apply", note)
    return shapes


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images that a product convolves."""
    return shapes_seen(ProductConvolution, monkeypatch)


@pytest.mark.parametrize(("pixels", "in_bf16", "in_fp32"), [(16, 10, 5), (24, 5, 5), (32, 5, 0)])
def test_small_images_take_the_product(
    pixels: int, in_bf16: int, in_fp32: int, calls: list[tuple[int, ...]]
) -> None:
    """In bf16 layers 3 and 4 take it at 16 px, layer 4 above; in fp32 layer 4 at 16 and 24 px."""
    model = build_model("resnet18", 10)
    images = torch.zeros(2, 3, pixels, pixels)
    model(images)
    assert len(calls) == in_fp32
    calls.clear()
    with torch.autocast("cpu", torch.bfloat16):
        model(images)
        assert len(calls) == in_bf16
        model.eval()(images)
    assert len(calls) == in_bf16


@pytest.mark.parametrize(
    ("precision", "products"), [(torch.bfloat16, [(4, 16, 4, 4)]), (torch.float16, [])]
)
def test_under_autocast(
    precision: torch.dtype, products: list[tuple[int, ...]], calls: list[tuple[int, ...]]
) -> None:
    """The product uses autocast's type; in fp16 it was not measured, so it does not serve."""
    layer = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    images = torch.randn(4, 16, 4, 4)
    results = []
    for _ in range(2):
        with torch.autocast("cpu", precision):
            output = layer(images)
        (gradient,) = torch.autograd.grad(output.float().square().sum(), [layer.weight])
        results.append((output, gradient))
        use_products(layer)
    assert calls == products
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        # Sums that cancel out keep the rounding of their largest terms.
        bound = 0.01 * float(expected.detach().abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=bound)


def test_parameters_and_their_names_stay() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    use_products(layer)
    assert isinstance(layer[0], Conv2d)
    after = layer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before | after)


@pytest.mark.parametrize(("size", "products"), [((3, 3), 1), ((3, 4), 0), ((4, 3), 0), ((1, 3), 1)])
def test_both_sides_must_be_small(
    size: tuple[int, int], products: int, calls: list[tuple[int, ...]]
) -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    images = torch.randn(2, 3, *size)
    expected = layer(images)
    use_products(layer)
    torch.testing.assert_close(layer(images), expected)
    assert len(calls) == products


@pytest.mark.parametrize(
    "other",
    [
        {"bias": True}, {"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"},
        {"padding": "same"}, {"padding": 3}, {"padding": (0, 1)}, {"stride": (1, 2)},
        {"kernel_size": (3, 1)},
    ],
    ids=str,
)  # fmt: skip
def test_other_convolutions_stay_torchs(other: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"kernel_size": 3, "padding": 1, "bias": False} | other
    layer = nn.Conv2d(4, 4, **arguments)
    use_products(layer)
    assert type(layer) is nn.Conv2d


def outcome(layer: nn.Conv2d, images: Tensor, autocast: bool) -> tuple[str, Tensor | None]:
    """What a layer in training says of images: its error and result, or its gradients' types."""
    layer.zero_grad()
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = layer(images)
        output.float().sum().backward()
    except RuntimeError as error:
        return str(error), None
    assert layer.weight.grad is not None
    return f"{output.dtype} {layer.weight.grad.dtype}", output.detach()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.uint8])
@pytest.mark.parametrize("kernel", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 5}])
@pytest.mark.parametrize(
    "shape",
    [
        (4, 3, 3), (5, 4, 3, 3), (5, 4, 3, 5), (5, 4, 8, 4), (5, 4, 8, 0), (5, 4, 0, 0),
        (0, 4, 3, 3), (0, 4, 8, 8), (5, 3, 3, 3), (5, 0, 3, 3), (3, 3), (3,), (1, 5, 4, 3, 3),
    ],
    ids=str,
)  # fmt: skip
def test_odd_images_give_torchs_own_results_and_errors(
    shape: tuple[int, ...], kernel: dict[str, int], dtype: torch.dtype, autocast: bool
) -> None:
    """Without a batch, smaller than the kernel, empty, of another type or number of channels."""
    layer = nn.Conv2d(4, 6, bias=False, **kernel)
    images = torch.linspace(0, 9, torch.Size(shape).numel()).view(shape).to(dtype)
    said, expected = outcome(layer, images, autocast)
    use_products(layer)
    assert type(layer) is Conv2d
    said_here, found = outcome(layer, images, autocast)
    assert said_here == said
    if expected is not None and found is not None:
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("shape", [(2, 64, 0, 8), (2, 32, 8, 8), (64, 8, 8)], ids=str)
def test_winograd_is_not_asked_for_what_torch_refuses(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "MEASURED", True)
    layer = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    said, _ = outcome(layer, torch.ones(shape), autocast=False)
    use_products(layer)
    assert outcome(layer, torch.ones(shape), autocast=False)[0] == said


class SmallNet(nn.Module):
    """A network of three convolutions with these strides, for 32×32 images."""

    def __init__(self, *strides: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, strides[0], 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, strides[1], 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, strides[2], 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(16, 10)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(noise / parameter[0].numel() ** 0.5)
        self.fc.bias.data.zero_()
        use_products(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.body(images).mean((2, 3)))
        return logits


def training_losses(folder: Path, precision: str, net: nn.Module) -> list[float]:
    """The training loss of each of four epochs."""
    history: list[Row] = train(folder, params(epochs=4), precision=precision, model=net)[0]
    return [row["train_loss"] for row in history]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.02)])
def test_training_is_the_same_beyond_rounding(
    precision: str,
    tolerance: float,
    calls: list[tuple[int, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = []
    dtype = DTYPES[precision]
    for small in (0, 4):
        assert not calls
        monkeypatch.setattr(conv, "SMALL", {dtype: small})
        net = SmallNet(8, 1, 2)  # to 4, 4 and 2 pixels a side
        losses.append(training_losses(tmp_path / str(small), precision, net))
    assert calls
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)
    assert losses[0][-1] < losses[0][0]
