"""build_model gives exactly the CIFAR ResNet-18 and its deeper variants."""

import pytest
import torch

from src.network.resnet import build_model
from src.network.summary import count_parameters


def test_resnet18_has_11173962_parameters() -> None:
    assert count_parameters(build_model("resnet18", 10)) == 11_173_962


@pytest.mark.parametrize(("arch", "millions"), [("resnet34", 21.28), ("resnet50", 23.52)])
def test_deeper_networks(arch: str, millions: float) -> None:
    assert count_parameters(build_model(arch, 10)) / 1e6 == pytest.approx(millions, abs=0.01)


def test_initialisation_rests_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = build_model("resnet18", 10, seed=3).state_dict()
    assert torch.equal(torch.rand(1), expected)
    second = build_model("resnet18", 10, seed=3).state_dict()
    other = build_model("resnet18", 10, seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
