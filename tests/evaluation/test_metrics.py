"""Metrics equal known answers."""

import math
import re

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from src.evaluation.classes import class_scores
from src.evaluation.interval import wilson
from src.evaluation.metrics import evaluate, headline, tables

NAMES = ["cat", "dog", "ship"]
# Predictions: cat, dog, dog, ship, cat; the fourth and fifth are wrong.
LOGITS = torch.tensor([[4.0, 0, 0], [0, 2, 0], [0, 3, 0], [0, 0, 1], [1, 0, 0]])
LABELS = torch.tensor([0, 1, 1, 0, 2])


def test_headline_and_classes() -> None:
    result = evaluate(LOGITS, LABELS, NAMES, None)
    assert result.metrics["top1"] == pytest.approx(0.6)
    assert {"top1", "loss", "ece", "macro_f1"} <= result.metrics.keys()
    assert not {"temperature", "ece_calibrated"} & result.metrics.keys()
    assert result.metrics["loss"] == pytest.approx(
        np.mean([-math.log(math.exp(a) / (math.exp(b) + 2)) for a, b in
                 [(4, 4), (2, 2), (3, 3), (0, 1), (0, 1)]]), rel=1e-5
    )  # fmt: skip
    assert result.confusion.tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 0]]
    assert result.classes[0][:5] == ("cat", 0.5, 0.5, 0.5, 2)
    assert result.classes[1][:5] == ("dog", 1.0, 1.0, 1.0, 2)
    assert result.classes[2][:5] == ("ship", 0.0, 0.0, 0.0, 1)
    assert result.metrics["macro_f1"] == pytest.approx(0.5)


def test_tables_name_the_classes() -> None:
    result = evaluate(LOGITS, LABELS, NAMES, None)
    found = tables(result, LOGITS, LABELS, NAMES)
    header, rows = found["confusion"]
    assert header == ["actual", "predicted"]
    assert rows[3] == ("cat", "ship")
    header, rows = found["classes"]
    low, high = wilson(2, 2)
    assert dict(zip(header, rows[1], strict=True)) == {
        "class": "dog", "precision": 1.0, "recall": 1.0, "f1": 1.0, "images": 2,
        "recall_low": low, "recall_high": high, "ece": result.classes[1].ece,
    }  # fmt: skip


def test_the_table_has_every_number_and_the_interval_of_accuracies() -> None:
    four_right = LOGITS.index_copy(0, torch.tensor([4]), torch.tensor([[0.0, 0, 1]]))
    result = evaluate(LOGITS, LABELS, NAMES, 2.0, {"mirror": four_right})
    header, rows = tables(result, LOGITS, LABELS, NAMES)["evaluation"]
    assert header == ["measure", "value", "low", "high"]
    found = {name: (value, low, high) for name, value, low, high in rows}
    assert found.keys() == result.metrics.keys() | {
        "ece_adaptive", "ece_adaptive_calibrated", "ece_classwise", "aurc"
    }  # fmt: skip
    assert found["top1"] == (pytest.approx(0.6), *wilson(3, 5))
    assert found["top1_mirror"] == (0.8, *wilson(4, 5))
    assert all(ends == [None, None] for name, (_, *ends) in found.items() if "top1" not in name)
    assert found["ece_classwise"][0] == pytest.approx(np.mean([row.ece for row in result.classes]))


def test_the_logits_are_divided_by_the_temperature() -> None:
    """Odds of 81 to 1 become 9 to 1 at a temperature of 2; three of the four images are right."""
    logits = torch.tensor([[0.0, math.log(81)]]).repeat(4, 1)
    result = evaluate(logits, torch.tensor([1, 1, 1, 0]), ["a", "b"], 2.0)
    assert result.metrics["ece"] == pytest.approx(81 / 82 - 0.75)
    assert result.metrics["ece_calibrated"] == pytest.approx(0.9 - 0.75)
    assert result.more["ece_adaptive_calibrated"] == pytest.approx(0.9 - 0.75)
    assert result.calibration["after temperature scaling"].bins[13] == pytest.approx((0.9, 0.75, 4))


def test_coverage_goes_by_the_probabilities_that_predict_tells() -> None:
    """With three classes the temperature can change which image is the surer one."""
    logits = torch.tensor([[2.0, 0, 0], [1.2, 0, -9]])
    labels = torch.tensor([0, 1])
    orders = {}
    for temperature in (None, 2.0):
        result = evaluate(logits, labels, NAMES, temperature)
        expected = (logits.double() / (temperature or 1)).softmax(1).amax(1).sort(descending=True)
        assert [row.confidence for row in result.coverage] == pytest.approx(
            expected.values.tolist()
        )
        orders[temperature] = [row.accuracy for row in result.coverage], result.more["aurc"]
    assert orders == {None: ([1.0, 0.5], 0.25), 2.0: ([0.0, 0.5], 0.75)}


def test_the_headline_has_the_interval() -> None:
    said = headline(evaluate(LOGITS, LABELS, NAMES, None))
    # With a metric that is added in between, as docs/yours.md does.
    start = (
        r"top1 0\.6000 \(95% interval 0\.2307 to 0\.8824\), (\w+ [\d.]+, )*macro_f1 0\.5000, loss "
    )
    assert re.match(start, said)


def test_metrics_leave_room_for_one_more() -> None:
    """At most 8 numbers, one of them for test-time augmentation."""
    assert len(evaluate(LOGITS, LABELS, NAMES, 2.0).metrics) <= 7


def test_a_class_in_neither_labels_nor_predictions_does_not_count() -> None:
    """Its scores are absent from the table: empty cells, not 0."""
    logits, labels = 9 * torch.eye(3)[:2], torch.tensor([0, 1])
    result = evaluate(logits, labels, NAMES, None)
    assert result.metrics["macro_f1"] == 1.0
    assert result.classes[2][:7] == ("ship", None, None, None, 0, None, None)
    assert [row[:5] for row in result.classes[:2]] == [(n, 1.0, 1.0, 1.0, 1) for n in NAMES[:2]]


def test_a_class_that_is_only_predicted_counts_as_0() -> None:
    logits, labels = 9 * torch.eye(3), torch.tensor([0, 1, 1])
    result = evaluate(logits, labels, NAMES, None)
    assert result.classes[2][:5] == ("ship", 0.0, None, 0.0, 0)
    assert result.metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    logits, labels = 9 * torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 2])
    result = evaluate(logits, labels, NAMES, None)
    assert result.classes[2][:5] == ("ship", None, 0.0, 0.0, 1)
    assert result.metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_scores_are_the_nearest_double() -> None:
    confusion = torch.tensor([[940, 60], [24, 976]])
    assert class_scores(confusion)[1].tolist() == [0.94, 0.976]


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_torchmetrics(seed: int) -> None:
    """Where every class occurs; and the macro average where some do not. Theirs are in fp32."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(60, 10, generator=generator)
    some, every = torch.randint(0, 7, (60,), generator=generator), torch.arange(60) % 10
    rows = evaluate(logits, every, list("abcdefghij"), None).classes
    scores = (multiclass_precision, multiclass_recall, multiclass_f1_score)
    for column, score in enumerate(scores, start=1):
        theirs = score(logits, every, 10, average="none").tolist()
        assert [row[column] for row in rows] == pytest.approx(theirs, rel=1e-6)
    logits[:, 8:] = -9.0
    ours = evaluate(logits, some, list("abcdefghij"), None).metrics["macro_f1"]
    assert ours == pytest.approx(multiclass_f1_score(logits, some, 10, average="macro").item())
