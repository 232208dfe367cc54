"""Logits and the views of test-time augmentation are right."""

import numpy as np
import pytest
import torch

from src.data.normalize import Normalize
from src.data.records import Split
from src.evaluation.predict import held_out_temperature, predict, views
from src.network.weights import Trained
from src.pipeline.errors import InputError
from tests.tiny import NoMemory


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


def test_images_too_many_for_the_memory_are_named() -> None:
    split = Split(np.zeros((501, 32, 32, 3), np.uint8), np.zeros(501, np.int64))
    trained = Trained(NoMemory(), Normalize([0.0] * 3, [1.0] * 3, torch.device("cpu")), "fp32")
    with pytest.raises(InputError, match=r"^evaluation of 500 images at a time does not.* DEVICE="):
        predict(trained, split)


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


def brightness(labels: list[int], told: list[int]) -> tuple[Trained, Split]:
    """A network that says red, green or blue, and images that make it say `told`."""
    pixels = np.zeros((len(told), 32, 32, 3), np.uint8)
    pixels[np.arange(len(told)), :, :, told] = 255
    normalize = Normalize([0.0] * 3, [0.5] * 3, torch.device("cpu"))
    return Trained(Means(), normalize, "fp32"), Split(pixels, np.array(labels, np.int64))


def test_the_temperature_is_none_where_images_tell_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained, split = brightness([0, 1, 2] * 30, [0, 1, 2] * 30)
    assert held_out_temperature(trained, None) is None
    assert capsys.readouterr().out == ""
    assert held_out_temperature(trained, split) is None
    assert capsys.readouterr().out == (
        "no temperature is fitted, because the 90 validation images are too well classified: it "
        "would be below 0.05\n"
    )
    trained, split = brightness([0, 1, 2] * 30, [0, 1, 2] * 20 + [1, 2, 0] * 10)
    found = held_out_temperature(trained, split)
    assert found is not None
    # Two thirds are right: p = e^(2/T) / (e^(2/T) + 2).
    assert found == pytest.approx(2 / np.log(4), rel=1e-3)
    assert capsys.readouterr().out == ""
