"""Calibration gives the right bins, error and temperature."""

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from src.evaluation.calibration import fit_temperature
from src.evaluation.metrics import evaluate, tables
from tests.evaluation.test_metrics import LABELS, LOGITS, NAMES


def test_calibration_error_is_the_weighted_gap() -> None:
    result = evaluate(LOGITS, LABELS, NAMES, None)
    bins, error = result.calibration["as trained"]
    assert len(bins) == 15
    assert sum(count for *_, count in bins) == 5
    probabilities = LOGITS.softmax(1)
    theirs = multiclass_calibration_error(probabilities, LABELS, len(NAMES), n_bins=15)
    assert error == pytest.approx(theirs.item(), rel=1e-5)
    header, rows = tables(result, LOGITS, LABELS, NAMES)["calibration"]
    assert header == ["confidence", "accuracy", "images"]
    assert rows == [row for row in bins if row[2]]
    assert len(rows) < len(bins)


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
