"""Winograd's convolution is the convolution, and is taken where it was measured to be faster."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src import winograd
from src.model import build_model
from src.run import Row
from src.winograd import WinogradConvolution
from tests.test_conv import SmallNet
from tests.test_train import params, settings, train

# (images, in, out, height, width)
SHAPES = [(5, 3, 7, 4, 4), (2, 4, 3, 12, 8), (130, 2, 3, 8, 8), (9, 3, 2, 32, 32), (1, 1, 1, 4, 4)]


def results(convolve: Any, images: Tensor, weight: Tensor) -> list[Tensor]:
    """Outputs, and gradients for images and weights."""
    leaves = images.clone().requires_grad_(), weight.clone().requires_grad_()
    output = convolve(*leaves)
    upstream = torch.linspace(-1, 1, output.numel(), dtype=images.dtype).view(output.shape)
    return [output, *torch.autograd.grad(output, leaves, upstream)]


def assert_close(found: list[Tensor], expected: list[Tensor], share: float) -> None:
    """No element is off by more than a share of the largest."""
    for one, wanted in zip(found, expected, strict=True):
        bound = share * float(wanted.detach().abs().max())
        torch.testing.assert_close(one, wanted, rtol=0, atol=bound)


def directly(images: Tensor, weight: Tensor) -> Tensor:
    return nn.functional.conv2d(images, weight, padding=1)


@pytest.fixture
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any processor, for any number of channels, forward and backward."""
    monkeypatch.setattr(winograd, "MEASURED", True)
    monkeypatch.setattr(winograd, "CHANNELS", 1)
    monkeypatch.setattr(winograd, "FORWARD_CHANNELS", 1)


@pytest.mark.usefixtures("every_size")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tiles", [1, 7, 128])
def test_results_and_gradients_are_those_of_the_convolution(
    shape: tuple[int, ...], tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the last run has fewer images than the others."""
    monkeypatch.setattr(winograd, "TILES", tiles)
    count, channels, out_channels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, channels, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(out_channels, channels, 3, 3, generator=generator, dtype=torch.float64)
    expected = results(directly, images, weight)
    found = results(WinogradConvolution.apply, images, weight)
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("channels", [64, 128])
def test_rounding_in_fp32(channels: int) -> None:
    """The transforms lose about one digit: no element is off by 1/10,000 of the largest."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, channels, 8, 8, generator=generator).relu()
    weight = torch.randn(channels, channels, 3, 3, generator=generator)
    expected = results(directly, images.double(), weight.double())
    found = results(WinogradConvolution.apply, images, weight)
    assert_close([one.double() for one in found], expected, 1e-4)


@pytest.mark.usefixtures("every_size")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_any_memory_format(memory_format: torch.memory_format) -> None:
    images = torch.randn(4, 8, 8, 8).to(memory_format=memory_format)
    weight = torch.randn(16, 8, 3, 3).to(memory_format=memory_format)
    expected = results(directly, images, weight)
    found = results(WinogradConvolution.apply, images, weight)
    assert_close(found, expected, 1e-4)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images that are convolved Winograd's way."""
    shapes = []
    apply = WinogradConvolution.apply

    def note(images: Tensor, weight: Tensor) -> Any:
        shapes.append(tuple(images.shape[1:]))
        return apply(images, weight)

    monkeypatch.setattr(WinogradConvolution, "apply", note)
    return shapes


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (16, [(64, 16, 16)] * 4 + [(128, 8, 8)] * 3 + [(256, 4, 4)] * 3),
        (24, [(64, 24, 24)] * 4 + [(128, 12, 12)] * 3),
        (32, [(64, 32, 32)] * 4 + [(128, 16, 16)] * 3 + [(256, 8, 8)] * 3 + [(512, 4, 4)] * 3),
    ],
)
def test_where_it_is_taken(
    pixels: int,
    expected: list[tuple[int, ...]],
    calls: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In fp32 and in training, for sides of whole tiles; not the stem, nor where it strides."""
    monkeypatch.setattr(winograd, "MEASURED", True)
    model = build_model("resnet18", 10)
    images = torch.zeros(2, 3, pixels, pixels)
    model(images)
    assert calls == expected
    calls.clear()
    with torch.autocast("cpu", torch.bfloat16):
        model(images)
    model.eval()(images)
    monkeypatch.setattr(winograd, "MEASURED", False)
    model.train()(images)
    assert not calls


@pytest.mark.usefixtures("every_size")
def test_training_is_the_same_beyond_rounding(
    calls: list[tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories: list[list[Row]] = []
    for measured in (False, True):
        assert not calls
        monkeypatch.setattr(winograd, "MEASURED", measured)
        folder, used = tmp_path / str(measured), settings(precision="fp32")
        net = SmallNet(4, 1, 1)  # to 8 pixels a side
        histories.append(train(folder, params(epochs=4), used, net)[0])
    assert calls
    losses = [[row["train_loss"] for row in history] for history in histories]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]
