"""Faithfulness is higher for a map that names the cause than for another image's map."""

import pytest
import torch
from torch import nn

from src.data.normalize import Normalize
from src.explanation.faithfulness import delete, faithfulness
from src.network.blocks import ResNet
from src.network.weights import Trained
from src.pipeline.errors import InputError
from tests.tiny import NoMemory


def ready(network: nn.Module) -> Trained:
    return Trained(network, Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu")), "fp32")


def test_faithfulness_does_not_depend_on_the_batches(
    model: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    targets = torch.arange(7)
    trained = ready(model)
    whole = faithfulness(trained, ["layer3", "layer4"], images, targets)
    monkeypatch.setattr("src.explanation.faithfulness.BATCH", 3)
    parts = faithfulness(trained, ["layer3", "layer4"], images, targets)
    assert len(set(whole.values())) == 4
    # Which image gives the other map depends on the batches, so those scores may differ.
    for layer in ("layer3", "layer4"):
        assert parts[layer] == pytest.approx(whole[layer], abs=1e-4)


class Corner(nn.Module):
    """The evidence for class 1 is the brightness of the image's top left quarter."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.keep(images.clamp_min(0))
        evidence = features[:, :, :16, :16].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(evidence), 10 * evidence], dim=1)


def test_a_faithful_map_beats_another_images_map() -> None:
    """Each image has a square in another place: its own map finds it, the next image's does not."""
    images = torch.zeros(4, 3, 32, 32)
    for number, (top, left) in enumerate([(0, 0), (0, 8), (8, 0), (8, 8)]):
        images[number, :, top : top + 8, left : left + 8] = 4.0
    scores = faithfulness(ready(Corner()), ["keep"], images, torch.ones(4, dtype=torch.int64))
    assert scores["keep"] > 0.4
    assert scores["keep_other"] < 0.3 * scores["keep"]


def test_images_too_many_for_the_memory_are_named() -> None:
    images = torch.ones(4, 3, 32, 32)
    with pytest.raises(InputError, match=r"^faithfulness of 4 images at a time does not fit the d"):
        faithfulness(ready(NoMemory()), ["layer"], images, torch.ones(4, dtype=torch.int64))


def test_the_fifth_where_the_map_is_highest_gets_the_mean_colour() -> None:
    images = torch.ones(1, 3, 10, 10)
    cam = torch.arange(100.0).view(1, 10, 10)
    deleted = delete(images, cam)
    assert (deleted[0, :, :8] == 1).all()
    assert (deleted[0, :, 8:] == 0).all()
