"""Logits and the views of test-time augmentation are right."""

import numpy as np
import torch

from src.data.normalize import Normalize
from src.data.records import Split
from src.evaluation.predict import predict, views
from src.network.weights import Trained


def test_views_of_test_time_augmentation() -> None:
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert [len(views(images, tta)) for tta in ("none", "mirror", "mirror_shift")] == [1, 2, 6]
    assert torch.equal(views(images, "mirror")[1], images.flip(3))
    found = views(images, "mirror_shift")
    assert torch.equal(found[0], images)
    assert torch.equal(found[1], images.flip(3))
    # The image and its mirror image are each moved down and right by a pixel, and up and left by
    # one. The row and column that come in are those beside the edge.
    moved = [[1, 0, 1, 2], [1, 2, 3, 2]]
    for (source, rows), view in zip(
        [(image, rows) for image in (images, images.flip(3)) for rows in moved],
        found[2:],
        strict=True,
    ):
        assert torch.equal(view, source[:, :, rows][..., rows])


class Means(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0]


def test_predict_averages_the_views_in_order() -> None:
    pixels = np.zeros((1100, 32, 32, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(1100) % 256
    split = Split(pixels, np.zeros(1100, np.int64))
    normalize = Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu"))
    trained = Trained(Means(), normalize, "fp32")
    plain = predict(trained, split)
    assert plain.shape == (1100, 3)
    assert torch.allclose(plain[:, 0] * 255, torch.arange(1100) % 256 * 1.0, atol=1e-3)
    mirrored = predict(trained, split, "mirror")
    assert torch.allclose(mirrored, plain / 2, atol=1e-6)
    # Of six views only the first shows the bright corner; in a shifted view the corner comes from
    # (1, 1).
    shifted = predict(trained, split, "mirror_shift")
    assert torch.allclose(shifted, plain / 6, atol=1e-6)
