"""Accuracy against coverage is that of the surest images."""

import numpy as np
import pytest

from src.evaluation.coverage import area_under_risk, coverage_curve
from src.evaluation.interval import wilson

CONFIDENCE, RIGHT = np.array([0.7, 0.9, 0.6, 0.8]), np.array([1.0, 1.0, 1.0, 0.0])


def test_the_surest_images_come_first() -> None:
    rows = coverage_curve(CONFIDENCE, RIGHT)
    assert [row.coverage for row in rows] == [0.25, 0.5, 0.75, 1]
    assert [row.accuracy for row in rows] == [1, 0.5, 2 / 3, 0.75]
    assert [row.confidence for row in rows] == [0.9, 0.8, 0.7, 0.6]
    assert [row.images for row in rows] == [1, 2, 3, 4]
    assert (rows[2].low, rows[2].high) == wilson(2, 3)


def test_area_under_risk_is_the_mean_share_of_wrong_answers() -> None:
    assert area_under_risk(CONFIDENCE, RIGHT) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert area_under_risk(CONFIDENCE, np.ones(4)) == 0


def test_there_is_a_row_for_each_per_cent() -> None:
    rng = np.random.default_rng(0)
    confidence, right = rng.random(10_000), rng.integers(0, 2, 10_000) * 1.0
    rows = coverage_curve(confidence, right)
    assert [row.images for row in rows] == list(range(100, 10_001, 100))
    for row in rows[::10]:
        kept = confidence >= row.confidence
        assert kept.sum() == row.images
        assert row.accuracy == pytest.approx(right[kept].mean())
    assert [row.images for row in coverage_curve(confidence[:150], right[:150])][:3] == [2, 3, 5]


def test_an_order_by_confidence_beats_one_by_chance() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(4000)
    right = (rng.random(4000) < confidence) * 1.0
    informed = area_under_risk(confidence, right)
    assert informed < 0.7 * area_under_risk(rng.random(4000), right)
    # The share of wrong answers among the surest share c is c / 2, and its mean over c is 1 / 4.
    assert informed == pytest.approx(0.25, abs=0.02)
