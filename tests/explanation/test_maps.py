"""Each image has its own maps, and the mean of those of its others."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from src.data.normalize import Normalize
from src.data.records import Split
from src.explanation.maps import maps_of, own_and_others
from src.network.weights import Trained
from src.pipeline.errors import InputError
from tests.tiny import NoMemory

NORMALIZE = Normalize([0.0] * 3, [1 / 255] * 3, torch.device("cpu"))
# Image i is filled with i.
PIXELS = np.arange(8, dtype=np.uint8)[:, None, None, None] + np.zeros((32, 32, 3), np.uint8)


def pixel_plus_target(
    _: nn.Module, layers: Sequence[str], images: torch.Tensor, targets: torch.Tensor, *__: str
) -> dict[str, torch.Tensor]:
    """Maps that are filled with the image's number plus a tenth of the target's."""
    return dict.fromkeys(layers, images[:, 0] + 0.1 * targets[:, None, None])


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setattr("src.explanation.maps.grad_cam", pixel_plus_target)
    return Trained(nn.Identity(), NORMALIZE, "fp32")


def test_batches_keep_their_order(numbered: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.explanation.maps.BATCH", 3)
    maps = maps_of(numbered, ["layer"], PIXELS, np.arange(8), "gradcam")["layer"]
    np.testing.assert_allclose(maps[:, 0, 0], 1.1 * np.arange(8), rtol=1e-6)


def test_others_are_averaged(numbered: Trained) -> None:
    test = Split(PIXELS, np.zeros(8, np.int64))
    predicted = np.arange(8) % 2
    rows, others = np.array([5, 2]), np.array([[1, 7, 3], [4, 4, 0]])
    maps = own_and_others(numbered, ["a", "b"], test, predicted, rows, others, "gradcam")
    for own, of_class in maps.values():
        np.testing.assert_allclose(own[:, 3, 3], [5.1, 2.0], rtol=1e-6)
        np.testing.assert_allclose(of_class[:, 3, 3], [11 / 3 + 0.1, 8 / 3], rtol=1e-6)


def test_images_too_many_for_the_memory_are_named() -> None:
    network = Trained(NoMemory(), NORMALIZE, "fp32")
    with pytest.raises(InputError, match=r"^Grad-CAM of 8 images at a time does not fit the devi"):
        maps_of(network, ["layer"], PIXELS, np.zeros(8, np.int64), "gradcam")
