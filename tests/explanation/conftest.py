"""The network that both Grad-CAM and its faithfulness are tried on."""

import pytest
import torch

from src.network.blocks import ResNet
from src.network.resnet import build_model


@pytest.fixture(scope="module")
def model() -> ResNet:
    network = build_model("resnet18", 10)
    assert isinstance(network, ResNet)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        # Untrained weights give maps that are nearly flat.
        network.fc.weight.copy_(torch.randn(10, 512, generator=generator))
    return network.eval()
