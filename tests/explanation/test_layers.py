"""The layers to explain are found in any network that has maps."""

import pytest
import torch
from torchvision.models import mobilenet_v3_small

from src.explanation.layers import map_layers
from src.network.resnet import build_model


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


def test_a_network_without_maps_has_none() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    assert map_layers(model) == []
