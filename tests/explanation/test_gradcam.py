"""Grad-CAM is right and leaves no trace in the model."""

import pytest
import torch
from torch import nn

from src.explanation.gradcam import grad_cam, unit_peak
from src.network.blocks import ResNet
from src.network.resnet import build_model

LAYERS = ["layer1", "layer2", "layer3", "layer4"]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_layer4_equals_the_class_activation_map(model: ResNet, images: torch.Tensor) -> None:
    """Behind mean pooling and one linear layer, Grad-CAM is CAM (Zhou et al. 2016)."""
    targets = torch.tensor([0, 3, 5, 9])
    features: list[torch.Tensor] = []
    hook = model.layer4.register_forward_hook(lambda _, __, output: features.append(output))
    with torch.no_grad():
        model.eval()(images)
    hook.remove()
    cam = torch.einsum("bk,bkhw->bhw", model.fc.weight[targets].detach(), features[0]).relu()
    size = (32, 32)
    expected = unit_peak(nn.functional.interpolate(cam[:, None], size=size, mode="bilinear")[:, 0])
    found = grad_cam(model, ["layer4"], images, targets)["layer4"]
    assert found.max() == 1
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_maps_are_those_of_the_paper(layer: str, model: ResNet, images: torch.Tensor) -> None:
    """They equal equations 1 and 2, computed image by image."""
    targets = torch.tensor([0, 3, 5, 9])
    found = grad_cam(model, LAYERS, images, targets)[layer]
    assert found.max() == 1
    for image, target, cam in zip(images, targets, found, strict=True):
        kept: list[torch.Tensor] = []
        hook = model.get_submodule(layer).register_forward_hook(
            lambda *a, kept=kept: kept.append(a[2])
        )
        score = model.eval()(image[None])[0, target]
        hook.remove()
        (gradient,) = torch.autograd.grad(score, kept)
        channels, height, width = kept[0].shape[1:]
        expected = torch.zeros(height, width)
        for k in range(channels):
            expected += gradient[0, k].sum() / (height * width) * kept[0][0, k].detach()
        evidence = expected.clamp_min(0)[None, None]
        larger = nn.functional.interpolate(evidence, size=(32, 32), mode="bilinear")[0]
        assert torch.allclose(cam[None], unit_peak(larger), atol=1e-4)


def test_maps_lie_in_the_unit_interval(model: ResNet, images: torch.Tensor) -> None:
    cams = grad_cam(model, LAYERS, images, torch.zeros(4, dtype=torch.int64))
    assert list(cams) == LAYERS
    for cam in cams.values():
        assert cam.shape == (4, 32, 32)
        assert cam.min() >= 0
        assert cam.max() <= 1


def test_an_image_does_not_depend_on_its_batch(model: ResNet, images: torch.Tensor) -> None:
    targets = torch.tensor([1, 2, 3, 4])
    together = grad_cam(model, ["layer3"], images, targets)["layer3"]
    alone = grad_cam(model, ["layer3"], images[2:3], targets[2:3])["layer3"]
    assert torch.allclose(together[2:3], alone, atol=1e-5)


def test_no_evidence_gives_a_zero_map(images: torch.Tensor) -> None:
    silent = build_model("resnet18", 10)
    with torch.no_grad():
        silent.fc.weight.copy_(-torch.ones(10, 512))
    cam = grad_cam(silent, ["layer4"], images, torch.zeros(4, dtype=torch.int64))["layer4"]
    assert torch.equal(cam, torch.zeros(4, 32, 32))


def snapshot(model: nn.Module) -> tuple[object, ...]:
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()]
    modes = [module.training for module in model.modules()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    buffers = [buffer.clone().tolist() for buffer in model.buffers()]
    return hooks, modes, [g if g is None else g.tolist() for g in gradients], buffers


@pytest.mark.parametrize("target", [0, 10, -1])
def test_the_model_is_left_as_it_was(target: int, images: torch.Tensor) -> None:
    """Mode, hooks, gradients and statistics stay, also after an exception."""
    model = build_model("resnet18", 10).train()
    model.layer2.eval()
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    before = snapshot(model)
    targets = torch.tensor([3, 0, target, 9])  # one wrong target in a batch is enough
    if target == 0:
        grad_cam(model, LAYERS, images, targets)
    else:
        with pytest.raises(ValueError, match="class indices from 0 to 9"):
            grad_cam(model, LAYERS, images, targets)
    assert snapshot(model) == before


def test_frozen_models_and_no_grad_are_fine(images: torch.Tensor) -> None:
    model = build_model("resnet18", 10)
    targets = torch.zeros(4, dtype=torch.int64)
    expected = grad_cam(model, LAYERS, images, targets)
    with torch.no_grad():
        found = grad_cam(model.requires_grad_(False), LAYERS, images, targets)
    assert all(torch.equal(expected[name], found[name]) for name in LAYERS)


class TwoHeads(nn.Module):
    """One head's output is thrown away, as those of auxiliary losses are in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.beside = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.beside(images)
        logits: torch.Tensor = self.used(images).mean((2, 3))
        return logits


def test_a_layer_that_the_logits_do_not_use_is_no_evidence(images: torch.Tensor) -> None:
    cams = grad_cam(
        TwoHeads().eval(), ["used", "beside"], images, torch.zeros(4, dtype=torch.int64)
    )
    assert cams["used"].any()
    assert not cams["beside"].any()
