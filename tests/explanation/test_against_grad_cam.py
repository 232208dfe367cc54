"""Maps are those of the package grad-cam, to 1e-3 of a map's range."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from src.explanation.gradcam import grad_cam
from src.network.blocks import ResNet


def unit_range(maps: np.ndarray) -> np.ndarray:
    """Theirs begin at 0 and end at 1; ours end at 1 alone."""
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / np.where(high > low, high - low, 1)


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3", "layer4"])
def test_maps_are_those_of_grad_cam(layer: str, model: ResNet) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    classes = [0, 3, 5, 9]
    ours = grad_cam(model, [layer], images, torch.tensor(classes))[layer].numpy()
    with GradCAM(model, [model.get_submodule(layer)]) as cam:
        theirs = cam(images, [ClassifierOutputTarget(number) for number in classes])
    assert (ours.max((1, 2)) > 0.5).sum() >= 2  # the others have no evidence
    np.testing.assert_allclose(unit_range(ours), unit_range(theirs), atol=1e-3)
    model.zero_grad()
