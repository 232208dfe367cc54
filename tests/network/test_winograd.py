"""Winograd's algorithm gives the convolution, and serves only where it was measured as faster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.network import winograd
from src.network.resnet import build_model
from src.network.winograd import WinogradConvolution
from tests.network.test_conv import SmallNet, results, shapes_seen, training_losses

# (images, in, out, height, width)
SHAPES = [(5, 3, 7, 4, 4), (2, 4, 3, 12, 8), (130, 2, 3, 8, 8), (9, 3, 2, 32, 32), (1, 1, 1, 4, 4)]


def directly(images: Tensor, weight: Tensor) -> Tensor:
    return nn.functional.conv2d(images, weight, padding=1)


def operands(
    count: int, channels: int, out_channels: int, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Images and weights in double precision."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(
        count, channels, height, width, generator=generator, dtype=torch.float64
    ).relu()
    weight = torch.randn(out_channels, channels, 3, 3, generator=generator, dtype=torch.float64)
    return images, weight


def assert_close(found: list[Tensor], expected: list[Tensor], share: float) -> None:
    """No element is off by more than this share of the largest element."""
    for one, wanted in zip(found, expected, strict=True):
        bound = share * float(wanted.abs().max())
        torch.testing.assert_close(one.to(wanted.dtype), wanted, rtol=0, atol=bound)


@pytest.fixture
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the algorithm on any processor and for any number of channels, forward and backward."""
    monkeypatch.setattr(winograd, "MEASURED", True)
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    monkeypatch.setattr(winograd, "MIN_FORWARD_CHANNELS", 1)


@pytest.fixture
def unwritten_is_nan() -> Iterator[None]:
    """Fill new tensors with NaN, so that a value read before it is written shows."""
    before = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@pytest.mark.usefixtures("every_size", "unwritten_is_nan")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tiles", [1, 7, 128])
def test_results_and_gradients_are_those_of_the_convolution(
    shape: tuple[int, int, int, int, int], tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds also when the last run has fewer images than the others."""
    monkeypatch.setattr(winograd, "TILES", tiles)
    both = operands(*shape)
    assert_close(results(WinogradConvolution.apply, *both), results(directly, *both), 1e-12)


@pytest.mark.usefixtures("every_size")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_any_memory_format(memory_format: torch.memory_format) -> None:
    images, weight = (x.to(memory_format=memory_format) for x in operands(4, 8, 16, 8, 8))
    found = results(WinogradConvolution.apply, images, weight)
    assert_close(found, results(directly, images, weight), 1e-12)


@pytest.mark.usefixtures("every_size")
def test_upstream_gradient_that_is_one_number_for_a_whole_image() -> None:
    """The gradient of a mean over the pixels is an expanded tensor."""
    gradients = []
    for convolve in (directly, WinogradConvolution.apply):
        leaves = [x.requires_grad_() for x in operands(4, 3, 5, 8, 8)]
        means = convolve(*leaves).mean((2, 3)).square().sum()
        gradients.append(list(torch.autograd.grad(means, leaves)))
    assert_close(gradients[1], gradients[0], 1e-12)


@pytest.mark.parametrize("channels", [64, 128, 512])
def test_rounding_in_fp32(channels: int) -> None:
    """The transforms lose about one digit, so no element is off by 1/30,000 of the largest."""
    images, weight = operands(8, channels, channels, 8, 8)
    found = results(WinogradConvolution.apply, images.float(), weight.float())
    assert_close(found, results(directly, images, weight), 3e-5)


@pytest.mark.parametrize(
    ("channels", "out_channels", "forward"),
    [(128, 128, True), (64, 64, False), (64, 128, False), (128, 64, False)],
)
def test_few_channels_are_convolved_directly_in_the_forward_pass(
    channels: int, out_channels: int, forward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    convolve = winograd.convolve

    def note(images: Tensor, weight: Tensor) -> Tensor:
        taken.append(weight.shape)
        return convolve(images, weight)

    monkeypatch.setattr(winograd, "convolve", note)
    both = operands(1, channels, out_channels, 4, 4)
    assert_close(results(WinogradConvolution.apply, *both), results(directly, *both), 1e-12)
    assert bool(taken) == forward


@pytest.mark.parametrize(
    ("arguments", "size", "expected"),
    [
        ((64, 64, 3, 1, 1), (8, 8), True),
        ((64, 128, 3, 1, 1), (4, 8), True),
        ((64, 64, 3, 1, 1), (8, 6), False),
        ((64, 64, 3, 1, 1), (6, 8), False),
        ((64, 64, 3, 1, 0), (8, 8), False),
        ((64, 64, 3, 2, 1), (8, 8), False),
        ((64, 64, 5, 1, 1), (8, 8), False),
        ((3, 64, 3, 1, 1), (8, 8), False),
        ((64, 32, 3, 1, 1), (8, 8), False),
    ],
)
def test_what_it_can_take(
    arguments: tuple[int, ...],
    size: tuple[int, int],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(winograd, "MEASURED", True)
    images = torch.zeros(1, arguments[0], *size)
    assert winograd.pays(nn.Conv2d(*arguments), images) == expected


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images that Winograd's algorithm convolves."""
    return shapes_seen(WinogradConvolution, monkeypatch)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (16, [(64, 16, 16)] * 4 + [(128, 8, 8)] * 3 + [(256, 4, 4)] * 3),
        (24, [(64, 24, 24)] * 4 + [(128, 12, 12)] * 3),
        (32, [(64, 32, 32)] * 4 + [(128, 16, 16)] * 3 + [(256, 8, 8)] * 3 + [(512, 4, 4)] * 3),
    ],
)
def test_where_the_network_takes_it(
    pixels: int,
    expected: list[tuple[int, ...]],
    calls: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """fp32 training takes it for sides of whole tiles, but not in the stem or in strided layers."""
    monkeypatch.setattr(winograd, "MEASURED", True)
    model = build_model("resnet18", 10)
    calls.clear()  # of the check of what it returns
    images = torch.zeros(2, 3, pixels, pixels)
    model(images)
    assert [shape[1:] for shape in calls] == expected
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
    losses = []
    for measured in (False, True):
        assert not calls
        monkeypatch.setattr(winograd, "MEASURED", measured)
        net = SmallNet(4, 1, 1)  # to 8 pixels a side
        losses.append(training_losses(tmp_path / str(measured), "fp32", net))
    assert calls
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]
