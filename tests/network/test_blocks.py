"""The network is torchvision's, weight for weight and bit for bit, with another stem."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet as theirs

from src.network import blocks
from src.network.resnet import ARCHITECTURES


def pair(arch: str) -> tuple[blocks.ResNet, theirs.ResNet]:
    """Ours and torchvision's, from one seed, the latter with our stem."""
    build = ARCHITECTURES[arch]
    block, depths = build.args  # type: ignore[attr-defined]
    torch.manual_seed(3)
    ours = build(10)
    assert isinstance(ours, blocks.ResNet)
    torch.manual_seed(3)
    other = theirs.ResNet(getattr(theirs, block.__name__), depths, num_classes=10)
    other.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(other.conv1.weight, mode="fan_out", nonlinearity="relu")
    other.maxpool = nn.Identity()
    return ours, other


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_a_seed_gives_the_weights_that_it_gives_torchvision(arch: str) -> None:
    ours, other = (network.state_dict() for network in pair(arch))
    assert list(ours) == list(other)
    assert all(torch.equal(ours[name], other[name]) for name in ours)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_outputs_and_gradients_are_torchvisions(arch: str) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    results = []
    for network in pair(arch):
        logits = network.train()(images)
        logits.logsumexp(1).sum().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        statistics = [b for name, b in network.named_buffers() if "running" in name]
        results.append([logits, *gradients, *statistics])
    ours, other = results
    assert len(ours) > 60
    assert all(torch.equal(a, b) for a, b in zip(ours, other, strict=True))
