"""Metrics against known answers."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from src.data.batches import Normalize
from src.data.records import Split
from src.evaluation.metrics import (
    calibration_table,
    evaluate,
    fit_temperature,
    named_pairs,
    predict,
    views,
)

NAMES = ["cat", "dog", "ship"]
# Predictions: cat, dog, dog, ship, cat; the fourth and fifth are wrong.
LOGITS = torch.tensor([[4.0, 0, 0], [0, 2, 0], [0, 3, 0], [0, 0, 1], [1, 0, 0]])
LABELS = torch.tensor([0, 1, 1, 0, 2])


def test_headline_and_classes() -> None:
    result = evaluate(LOGITS, LABELS, NAMES, None)
    assert result.metrics["top1"] == pytest.approx(0.6)
    assert set(result.metrics) == {"top1", "loss", "ece", "macro_f1"}
    assert result.metrics["loss"] == pytest.approx(
        np.mean([-math.log(math.exp(a) / (math.exp(b) + 2)) for a, b in
                 [(4, 4), (2, 2), (3, 3), (0, 1), (0, 1)]]), rel=1e-5
    )  # fmt: skip
    assert result.confusion.tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 0]]
    assert result.classes[0] == ("cat", 0.5, 0.5, 0.5, 2)
    assert result.classes[1] == ("dog", 1.0, 1.0, 1.0, 2)
    assert result.classes[2] == ("ship", 0.0, 0.0, 0.0, 1)
    assert result.metrics["macro_f1"] == pytest.approx(0.5)


def test_calibration_error_is_the_weighted_gap() -> None:
    bins, error = evaluate(LOGITS, LABELS, NAMES, None).calibration["as trained"]
    assert len(bins) == 15
    assert sum(count for *_, count in bins) == 5
    probabilities = LOGITS.softmax(1)
    theirs = multiclass_calibration_error(probabilities, LABELS, len(NAMES), n_bins=15)
    assert error == pytest.approx(theirs.item(), rel=1e-5)
    header, rows = calibration_table({"as trained": (bins, error)})
    assert header == ["confidence", "accuracy", "images"]
    assert all(row[2] for row in rows)


def test_what_is_certain_is_in_the_last_bin() -> None:
    logits = torch.tensor([[0.0, 40.0], [40.0, 0.0], [0.0, 3.0]])
    bins, error = evaluate(logits, torch.tensor([1, 1, 1]), ["a", "b"], None).calibration[
        "as trained"
    ]
    confidence = (2 + torch.tensor(3.0).sigmoid().item()) / 3
    assert bins[-1] == pytest.approx((confidence, 2 / 3, 3))
    assert error == pytest.approx(confidence - 2 / 3)


def test_temperature_undoes_a_scaling() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(1, rel=0.1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)
    result = evaluate(3 * logits, labels, list("abcde"), 3.0)
    assert result.metrics["ece_calibrated"] < 0.3 * result.metrics["ece"]
    assert result.metrics["temperature"] == 3.0


def test_pairs_are_named() -> None:
    assert named_pairs(LOGITS, LABELS, NAMES)[3] == ("cat", "ship")


def test_views_of_test_time_augmentation() -> None:
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert [len(views(images, tta)) for tta in ("none", "mirror", "mirror_shift")] == [1, 2, 6]
    assert torch.equal(views(images, "mirror")[1], images.flip(3))
    found = views(images, "mirror_shift")
    assert torch.equal(found[0], images)
    assert torch.equal(found[1], images.flip(3))
    # Down and right by a pixel, up and left by one, of the image and of its mirror image; the
    # row and column that come in are those beside the edge.
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
    plain = predict(Means(), split, normalize, "fp32")
    assert plain.shape == (1100, 3)
    assert torch.allclose(plain[:, 0] * 255, torch.arange(1100) % 256 * 1.0, atol=1e-3)
    mirrored = predict(Means(), split, normalize, "fp32", "mirror")
    assert torch.allclose(mirrored, plain / 2, atol=1e-6)
    # Only the image shifted down and right, whose corner comes from (1, 1), and its like show
    # anything else there: of six views the first alone shows the bright corner.
    shifted = predict(Means(), split, normalize, "fp32", "mirror_shift")
    assert torch.allclose(shifted, plain / 6, atol=1e-6)
