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


@pytest.mark.parametrize("training", [True, False])
def test_logits_are_not_rounded_to_half_precision(training: bool) -> None:
    """Rounded to bf16, near classes tie and the lower index wins."""
    model = build_model("resnet18", 10).train(training)
    seen: list[torch.Tensor] = []
    model.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    (features,) = seen
    assert features.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    exact = features.float() @ model.fc.weight.T + model.fc.bias
    assert torch.allclose(logits, exact, atol=1e-6)
    assert not torch.equal(logits, logits.bfloat16().float())
    logits.sum().backward()
    assert model.fc.weight.grad is not None
    assert model.fc.weight.grad.dtype == torch.float32


def test_two_classes_that_bf16_cannot_tell_apart() -> None:
    model = build_model("resnet18", 2).eval()
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.copy_(torch.tensor([100.0, 100.1]))
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.zeros(1, 3, 32, 32)).argmax(1).item() == 1
