"""On the built-in sample, whose object masks are known, maps find the object; broken ones do not.

By the two measures of benchmarks/localization.py, each against its chance.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.localization import Maps, Masks, energy, locate, pointing
from src.data.normalize import Normalize
from src.explanation.maps import maps_of
from src.network.weights import Trained
from src.sources.shapes import CLASSES, USUAL_COLOURS, draw

IMAGES, LABELS, MASKS = draw(200, 1)
BREAKS: dict[str, Callable[[Maps], Maps]] = {
    "another image's": lambda maps: np.roll(maps, 1, axis=0),
    "rows for columns": lambda maps: maps.transpose(0, 2, 1),
    "the wrong sign": lambda maps: maps.max((1, 2), keepdims=True) - maps,
}


class Colours(nn.Module):
    """A network whose reason is known: how many pixels have the usual colour of a class.

    A class's logit is the mean of its channel of `like`, 8×8 pixels, less half of the others'.
    """

    def __init__(self) -> None:
        super().__init__()
        colours = torch.from_numpy(np.stack([USUAL_COLOURS[name] for name in CLASSES])).float()
        self.register_buffer("colours", colours[None, :, :, None, None])
        self.like = nn.AvgPool2d(4)

    def forward(self, images: Tensor) -> Tensor:
        distance = (images[:, None] - self.colours).abs().sum(2)
        like: Tensor = self.like((1 - distance / 120).relu())
        found = like.mean((2, 3))
        return 1.5 * found - 0.5 * found.sum(1, keepdim=True)


def maps_for(targets: NDArray[np.int64]) -> tuple[Maps, Masks]:
    """The maps and masks of the images that have evidence for their target."""
    network = Trained(Colours(), Normalize([0.0] * 3, [1 / 255] * 3, torch.device("cpu")), "fp32")
    maps = maps_of(network, ["like"], IMAGES, targets, "gradcam")["like"]
    told = maps.any((1, 2))
    return maps[told], MASKS[told]


def test_each_of_several_highest_pixels_counts() -> None:
    maps, masks = np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool)
    maps[0, :2, :2] = maps[1, 3, 1] = 0.7
    masks[:, 1:, 1:] = True
    assert pointing(maps, masks).tolist() == [0.25, 1]


def test_energy_is_the_share_of_the_sum() -> None:
    maps, masks = np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool)
    maps[0, :2] = 0.5
    maps[0, 3, 3], maps[1, 0, 0] = 1.0, 0.1
    masks[:, 1:] = True
    assert energy(maps, masks).tolist() == [0.6, 0]


def test_grad_cam_finds_the_object() -> None:
    maps, masks = maps_for(LABELS)
    assert len(maps) > 0.7 * len(IMAGES)
    assert all(found.beats_chance for found in locate(maps, masks))


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_cam_does_not(name: str) -> None:
    maps, masks = maps_for(LABELS)
    assert not all(found.beats_chance for found in locate(BREAKS[name](maps), masks))


def test_a_cam_for_the_wrong_class_does_not() -> None:
    maps, masks = maps_for((LABELS + 1) % len(CLASSES))
    assert len(maps) > 0.2 * len(IMAGES)
    assert not all(found.beats_chance for found in locate(maps, masks))
