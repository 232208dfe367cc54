"""A layer, a class or an image that is not there is refused in a sentence with what is near."""

import numpy as np
import pytest
import torch
from torch import nn

from src.explanation.lookup import check_images, check_target, find_targets, layer_sizes
from src.network.blocks import ResNet
from src.pipeline.errors import InputError
from tests.tiny import NoMemory

CLASSES = ["cat", "dog", "sea horse"]


def test_any_module_with_maps_is_a_layer(model: ResNet) -> None:
    asked = ["layer4.1.conv2", "layer1", "conv1", "layer3.0.downsample.0", "layer2.1", "relu"]
    assert layer_sizes(model, asked) == {
        "layer4.1.conv2": (4, 4),
        "layer1": (32, 32),
        "conv1": (32, 32),
        "layer3.0.downsample.0": (8, 8),
        "layer2.1": (16, 16),
        "relu": (32, 32),
    }


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("layer5", r"'layer5' is not a module of the network; near it: layer4, layer3, layer2 \("),
        ("layer4.2", r"'layer4.2' is not a module .* near it: layer4.1, layer4.0, "),
        ("xyz", r"near it: conv1, bn1, relu, layer1, layer2, layer3, layer4, avgpool \("),
        ("fc", r"'fc' gives 10 for an image, but an explanation needs channels × height × width"),
        ("avgpool", r"'avgpool' gives 512 × 1 × 1 for an .* and more than one pixel; name an earl"),
    ],
)
def test_what_is_no_layer_is_refused(layer: str, sentence: str, model: ResNet) -> None:
    with pytest.raises(InputError, match=rf"^gradcam\.layers: .*{sentence}") as raised:
        layer_sizes(model, ["layer4", layer])
    assert len(str(raised.value).splitlines()) == 1


class Odd(nn.Module):
    """A module that is never called, and one that gives two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.idle, self.pair = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), Pair()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pair(self.conv(images))[0].mean((2, 3))


class Pair(nn.Module):
    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return features, features


@pytest.mark.parametrize("layer", ["idle", "pair"])
def test_a_module_without_a_tensor_is_refused(layer: str) -> None:
    with pytest.raises(InputError, match=f"'{layer}' gives no tensor for an image"):
        layer_sizes(Odd(), [layer])


def test_the_network_is_left_as_it_was(model: ResNet) -> None:
    layer_sizes(model, ["layer1", "layer4"])
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(InputError, match="one image does not fit the device's memory"):
        layer_sizes(NoMemory(), ["layer"])


def test_a_class_that_is_not_there_is_refused() -> None:
    for target in ("predicted", "true", *CLASSES):
        check_target(target, CLASSES)
    with pytest.raises(InputError, match=r"^gradcam.target: 'seahorse' is not .*: sea horse \("):
        check_target("seahorse", CLASSES)
    with pytest.raises(InputError, match=r"data/classes.txt; near it: predicted, true, cat, dog"):
        check_target("zzz", CLASSES)


@pytest.mark.parametrize(
    ("target", "expected"),
    [("predicted", [1, 1, 2]), ("true", [0, 1, 2]), ("sea horse", [2, 2, 2])],
)
def test_the_class_to_explain_is_found(target: str, expected: list[int]) -> None:
    found = find_targets(target, CLASSES, np.array([1, 1, 2]), np.array([0, 1, 2]))
    assert found.tolist() == expected


def test_an_image_that_is_not_there_is_refused() -> None:
    check_images([0, 1999], 2000)
    check_images([], 2000)
    with pytest.raises(
        InputError, match=r"^gradcam.images: 2000 is not one of the 2,000 test images.* 0 to 1,999"
    ):
        check_images([5, 2000, 7], 2000)
