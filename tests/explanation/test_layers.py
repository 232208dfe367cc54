"""The layers to explain are found in any network that has maps."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small
from torchvision.ops import Permute

from src.explanation.layers import map_layers
from src.explanation.lookup import layer_sizes
from src.network.resnet import build_model
from src.pipeline.errors import InputError


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_a_resnet_s_are_its_four(arch: str) -> None:
    model = build_model(arch, 10).eval()
    assert map_layers(model) == ["layer1", "layer2", "layer3", "layer4"]
    assert not any(module._forward_hooks for module in model.modules())


def test_another_network_s_are_the_last_of_each_size() -> None:
    model = mobilenet_v3_small(num_classes=10).eval()
    layers = map_layers(model)
    sizes = []
    for name in layers:
        keep = lambda *call: sizes.append(tuple(call[2].shape[2:]))  # noqa: E731
        model.get_submodule(name).register_forward_hook(keep)
    model(torch.zeros(1, 3, 32, 32))
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[0] == (16, 16)


class ChannelsLast(nn.Module):
    """As a block of ConvNeXt is inside: (B, H, W, C) between two permutations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 2, stride=2)
        self.block = nn.Sequential(Permute([0, 2, 3, 1]), nn.Linear(6, 12), nn.GELU())

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.block(self.stem(images)).mean((1, 2))
        return logits


def test_channels_behind_the_pixels_are_no_maps() -> None:
    model = ChannelsLast().eval()
    assert map_layers(model) == ["stem"]
    said = r"'block' gives 16 × 16 × 12 for an image, but an explanation needs channels × height"
    with pytest.raises(InputError, match=said):
        layer_sizes(model, ["block"])


def test_a_network_without_maps_has_none() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    assert map_layers(model) == []
