"""Metrics equal known answers."""

import math

import numpy as np
import pytest
import torch

from src.evaluation.metrics import evaluate, tables

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


def test_tables_name_the_classes() -> None:
    result = evaluate(LOGITS, LABELS, NAMES, None)
    found = tables(result, LOGITS, LABELS, NAMES)
    header, rows = found["confusion"]
    assert header == ["actual", "predicted"]
    assert rows[3] == ("cat", "ship")
    header, rows = found["classes"]
    assert dict(zip(header, rows[1], strict=True)) == {
        "class": "dog", "precision": 1.0, "recall": 1.0, "f1": 1.0, "images": 2,
    }  # fmt: skip
