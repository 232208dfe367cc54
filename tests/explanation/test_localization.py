"""On the built-in sample, whose object masks are known, maps find the object; broken ones do not.

Two measures, each beside its chance: the pointing game, whether the highest pixel lies on the
object (Zhang et al. 2016, arXiv 1608.00507), and the share of a map's sum that does (Wang et al.
2020, Score-CAM, arXiv 1910.01279). Chance is what the same maps reach with the masks of
other images: objects lie near the middle, so a map that always says "the middle" is often right.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.data.normalize import Normalize
from src.explanation.maps import maps_of
from src.network.weights import Trained
from src.sources.shapes import CLASSES, USUAL_COLOURS, draw

Maps = NDArray[np.floating]
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


def pointing(maps: Maps, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) 1 where the highest pixel of a map (N, H, W) lies inside the mask, else 0."""
    highest = maps.reshape(len(maps), -1).argmax(1)
    return masks.reshape(len(maps), -1)[range(len(maps)), highest].astype(np.float64)


def energy(maps: Maps, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) share of the map's sum that lies inside the mask."""
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def beats_chance(maps: Maps, masks: NDArray[np.bool_]) -> bool:
    """Whether both measures lie above chance by more than three standard errors."""
    verdicts = []
    for measure in (pointing, energy):
        chance = np.mean([measure(maps, np.roll(masks, n, axis=0)) for n in range(1, 21)], axis=0)
        lead = measure(maps, masks) - chance
        verdicts.append(lead.mean() > 3 * lead.std(ddof=1) / len(lead) ** 0.5)
    return all(verdicts)


def maps_for(targets: NDArray[np.int64]) -> tuple[Maps, NDArray[np.bool_]]:
    """The maps and masks of the images that have evidence for their target."""
    network = Trained(Colours(), Normalize([0.0] * 3, [1 / 255] * 3, torch.device("cpu")), "fp32")
    maps = maps_of(network, ["like"], IMAGES, targets)["like"]
    told = maps.any((1, 2))
    return maps[told], MASKS[told]


def test_grad_cam_finds_the_object() -> None:
    maps, masks = maps_for(LABELS)
    assert len(maps) > 0.7 * len(IMAGES)
    assert beats_chance(maps, masks)


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_cam_does_not(name: str) -> None:
    maps, masks = maps_for(LABELS)
    assert not beats_chance(BREAKS[name](maps), masks)


def test_a_cam_for_the_wrong_class_does_not() -> None:
    maps, masks = maps_for((LABELS + 1) % len(CLASSES))
    assert len(maps) > 0.2 * len(IMAGES)
    assert not beats_chance(maps, masks)
