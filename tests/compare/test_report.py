"""What two runs are compared by: the probabilities of both are on one scale."""

import numpy as np
import pytest
import torch

from src.compare import runs
from src.compare.report import as_json, compare
from src.data.records import Split
from src.explanation.answers import Answers

LABELS = np.array([0, 1])
TEST = Split(np.zeros((2, 32, 32, 3), np.uint8), LABELS)
RIGHT, WRONG = torch.tensor([[3.0, 0], [0, 2]]), torch.tensor([[0.0, 1], [0, 2]])


def run_of(name: str, logits: torch.Tensor, temperature: float | None) -> runs.Tested:
    return runs.Tested(name, TEST, ["cat", "dog"], Answers(logits, temperature))


@pytest.mark.parametrize(
    ("temperatures", "calibrated"),
    [((0.5, 2.0), True), ((None, 2.0), False), ((0.5, None), False), ((None, None), False)],
)
def test_both_have_a_temperature_or_neither_is_scaled(
    temperatures: tuple[float | None, float | None], calibrated: bool
) -> None:
    found = compare(run_of("a", RIGHT, temperatures[0]), run_of("b", WRONG, temperatures[1]))
    ((row,), none) = found.sides
    by = [temperature if calibrated else 1.0 for temperature in temperatures]
    assert row.probability_a == pytest.approx((RIGHT[0] / by[0]).softmax(0)[0].item())
    assert row.probability_b == pytest.approx((WRONG[0] / by[1]).softmax(0)[1].item())
    assert none == []
    assert as_json(found)["calibrated"] is calibrated
