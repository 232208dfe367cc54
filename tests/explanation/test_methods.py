"""Each method's maps are those of its paper, derived here in another way than in the code.

The gradient is taken by differences and summed in loops. HiResCAM's is the effect of taking a pixel
away; the weights of Grad-CAM++ come from real second and third derivatives.
"""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from src.explanation.gradcam import WEIGHTS, grad_cam, unit_peak, weighted_positive_gradient
from src.network.resnet import build_model
from src.pipeline.params import Gradcam

SIDE, CHANNELS, CLASSES = 4, 3, 2
Score = Callable[[Tensor], Tensor]


class Small(nn.Module):
    """Features that a ReLU gives, and a head that is linear between the kinks of its own ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.features = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU()
        self.head = nn.Sequential(
            nn.Conv2d(CHANNELS, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 2 * 2, CLASSES)
        )
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(self.conv(images)))


NETWORK = Small()
IMAGES = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).double()
TARGETS = torch.tensor([0, 1, 1])


def features_and_score(row: int) -> tuple[Tensor, Score]:
    """An image's features (C, h, w), and its class's score as a function of them."""
    with torch.no_grad():
        features = NETWORK.features(NETWORK.conv(IMAGES[row : row + 1]))[0]
    return features, lambda given: NETWORK.head(given[None])[0, TARGETS[row]]


def changed(features: Tensor, place: tuple[int, int, int], by: float) -> Tensor:
    features = features.clone()
    features[place] += by
    return features


def gradient_by_differences(features: Tensor, score: Score, step: float = 1e-6) -> Tensor:
    gradient = torch.zeros_like(features)
    with torch.no_grad():
        for place in torch.cartesian_prod(*map(torch.arange, features.shape)).tolist():
            up, down = (score(changed(features, tuple(place), by)) for by in (step, -step))
            gradient[tuple(place)] = (up - down) / (2 * step)
    return gradient


def by_gradcam(features: Tensor, score: Score) -> Tensor:
    gradient = gradient_by_differences(features, score)
    return sum(g.sum() / SIDE**2 * a for g, a in zip(gradient, features, strict=True))


def by_layercam(features: Tensor, score: Score) -> Tensor:
    gradient = gradient_by_differences(features, score)
    cam = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for k in range(CHANNELS):
        for i in range(SIDE):
            for j in range(SIDE):
                if gradient[k, i, j] > 0:
                    cam[i, j] += gradient[k, i, j] * features[k, i, j]
    return cam


def by_hirescam(features: Tensor, score: Score) -> Tensor:
    """How much the score loses with a pixel, to first order: it is linear on the way there."""
    cam = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    small = 1e-6
    with torch.no_grad():
        for i in range(SIDE):
            for j in range(SIDE):
                fainter = features.clone()
                fainter[:, i, j] *= 1 - small
                cam[i, j] = (score(features) - score(fainter)) / small
    return cam


def by_gradcam_plus_plus(features: Tensor, score: Score) -> Tensor:
    """Equations 19 and 5 with Y = exp(S), whose derivatives torch takes one after another."""
    given = features.clone().requires_grad_()
    (first,) = torch.autograd.grad(score(given).exp(), given, create_graph=True)
    cam = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for k in range(CHANNELS):
        weight = torch.zeros((), dtype=torch.float64)
        for i in range(SIDE):
            for j in range(SIDE):
                own = first[k, i, j]
                (all_second,) = torch.autograd.grad(own, given, create_graph=True)
                second = all_second[k, i, j]
                (all_third,) = torch.autograd.grad(second, given, retain_graph=True)
                third = all_third[k, i, j]
                if second != 0:
                    alpha = second / (2 * second + features[k].sum() * third)
                    weight += alpha * own.clamp_min(0)
        cam += weight.detach() * features[k]
    return cam


DERIVATIONS = {
    "gradcam": by_gradcam,
    "gradcam++": by_gradcam_plus_plus,
    "hirescam": by_hirescam,
    "layercam": by_layercam,
}


@pytest.mark.parametrize("method", DERIVATIONS)
def test_maps_are_those_of_the_paper(method: str) -> None:
    found = grad_cam(NETWORK, ["features"], IMAGES, TARGETS, method=method)["features"]
    expected = torch.stack(
        [DERIVATIONS[method](*features_and_score(row)) for row in range(len(IMAGES))]
    )
    assert (expected.amax((1, 2)) > 0).all()
    assert torch.allclose(found.double(), unit_peak(expected.relu()), atol=1e-5)


def test_the_methods_differ_here() -> None:
    """So that no derivation above would pass for another method."""
    maps = [grad_cam(NETWORK, ["features"], IMAGES, TARGETS, method=name) for name in WEIGHTS]
    for place, one in enumerate(maps):
        for other in maps[:place]:
            assert (one["features"] - other["features"]).abs().max() > 0.05


def test_hirescam_is_gradcam_where_the_gradient_is_equal_at_all_pixels() -> None:
    model = build_model("resnet18", 10)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    layers, targets = ["layer3", "layer4"], torch.tensor([3, 4])
    one, other = (
        grad_cam(model, layers, images, targets, method=name) for name in ("gradcam", "hirescam")
    )
    assert torch.allclose(one["layer4"], other["layer4"], atol=1e-5)
    assert (one["layer3"] - other["layer3"]).abs().max() > 0.05


def test_parameters_allow_each_method_and_no_other() -> None:
    assert set(get_args(Gradcam.model_fields["method"].annotation)) == set(WEIGHTS)


def test_a_weight_that_is_not_defined_is_left_out() -> None:
    """Before a ReLU the features' sum can be negative: here g ΣA is -2 in the first channel."""
    gradient = torch.ones(1, 2, 1, 2)
    features = torch.tensor([[[[-1.0, -1.0]], [[1.0, 1.0]]]])
    weights = weighted_positive_gradient(gradient, features)
    assert weights.flatten().tolist() == [0, 2 / 4]


def test_plus_plus_keeps_small_gradients() -> None:
    """g² and g³ would be zero in fp32."""
    gradient, features = torch.full((1, 1, 2, 2), 1e-30), torch.ones(1, 1, 2, 2)
    assert weighted_positive_gradient(gradient, features).item() == pytest.approx(
        4 * 1e-30 / 2, rel=1e-5, abs=0
    )


@pytest.mark.parametrize("layer", ["layer4.1.bn2", "layer2.0.bn1", "bn1"])
def test_a_module_is_explained_as_it_was_before_its_output_changed(layer: str) -> None:
    """A block adds to bn2's output in place, and a relu overwrites bn1's: neither may be seen."""
    model = build_model("resnet18", 10).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([3, 4])
    found = grad_cam(model, [layer], images, targets)[layer]
    # The same network without work in place.
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    kept: list[Tensor] = []

    def keep_apart(_: nn.Module, __: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output + 0

    hook = model.get_submodule(layer).register_forward_hook(keep_apart)
    score = model(images).gather(1, targets[:, None]).sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept)
    cam = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu().detach()
    large = nn.functional.interpolate(cam[:, None], size=(32, 32), mode="bilinear")[:, 0]
    expected = unit_peak(large)
    assert expected.max() == 1
    assert torch.allclose(found, expected, atol=1e-4)
