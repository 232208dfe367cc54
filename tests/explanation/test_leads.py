"""A lead is a paired difference of curves, with the standard error over the images."""

import numpy as np
import pytest
from scipy.stats import sem

from src.explanation.curves import SHARES, WAYS, Curves
from src.explanation.leads import (
    CONTROLS,
    OWN,
    Lead,
    leads_of,
    mean_and_error,
    metrics_of,
    points_of,
)

RNG = np.random.default_rng(0)


def random_curves() -> Curves:
    return {way: RNG.normal(size=(5, 8)) for way in WAYS}


CURVES = {name: random_curves() for name in (OWN, *CONTROLS)}


def test_the_error_is_that_of_scipy() -> None:
    values = RNG.normal(size=7)
    assert mean_and_error(values) == (pytest.approx(values.mean()), pytest.approx(sem(values)))


def test_a_constant_distance_is_the_lead() -> None:
    """However much the images differ, a paired difference that is the same has no error."""
    ahead = {
        way: curves - (1 if way[1] == "deletion" else -1) for way, curves in CURVES[OWN].items()
    }
    for lead in leads_of("layer", {OWN: ahead, **dict.fromkeys(CONTROLS, CURVES[OWN])}):
        assert lead.lead == pytest.approx(1)
        assert lead.error == pytest.approx(0, abs=1e-12)
        assert lead.parts.keys() == set(WAYS)
        assert all(mean == pytest.approx(1) for mean, _ in lead.parts.values())


def test_the_overall_error_is_over_images_and_not_over_curves() -> None:
    """What is common to an image's four curves does not average out."""
    of_image = RNG.normal(size=(5, 1))
    behind = {
        way: curves + (of_image if way[1] == "deletion" else -of_image)
        for way, curves in CURVES[OWN].items()
    }
    lead = leads_of("layer", {OWN: CURVES[OWN], **dict.fromkeys(CONTROLS, behind)})[0]
    assert lead.lead == pytest.approx(of_image.mean())
    assert lead.error == pytest.approx(sem(of_image[:, 0]))


def test_points_tell_heights_and_paired_differences() -> None:
    points = points_of("layer", CURVES)
    assert len(points) == len(CURVES) * len(WAYS) * 8
    (point,) = [
        p
        for p in points
        if (p.map, p.fill, p.curve, p.share)
        == ("edges", "blur", "insertion", SHARES["insertion"][2])
    ]
    own, edges = CURVES[OWN]["blur", "insertion"][:, 2], CURVES["edges"]["blur", "insertion"][:, 2]
    assert point.log_odds == pytest.approx(edges.mean())
    assert point.lead == pytest.approx((own - edges).mean())
    assert point.error == pytest.approx(sem(own - edges))


@pytest.mark.parametrize("best", CONTROLS)
def test_metrics_are_the_lead_over_the_control_that_does_best(best: str) -> None:
    """Also where no control is behind."""
    over = dict.fromkeys(CONTROLS, (1.0, 0.1)) | {best: (-0.5, 0.2)}
    leads = [Lead("layer3", name, 3.0, 0.3, {}) for name in CONTROLS]
    leads += [Lead("layer4", name, *both, {}) for name, both in over.items()]
    expected = {"layer3": 3.0, "layer3_error": 0.3, "layer4": -0.5, "layer4_error": 0.2}
    assert metrics_of(leads) == expected
    assert metrics_of([]) == {}
