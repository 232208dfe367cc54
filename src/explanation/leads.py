"""What the curves of maps say: how far a layer's own maps lead each control."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from src.explanation.curves import SHARES, WAYS, Curves, Scores, area, lead

OWN, SAME_CLASS = "own map", "same class"
CONTROLS = (SAME_CLASS, "blobs", "pixels", "edges")


class Point(NamedTuple):
    """One share of a curve: the mean log-odds of the predicted class over the images.

    lead, error: by how much the layer's own maps are better there, and the standard error of this
    paired difference.
    """

    layer: str
    map: str
    fill: str
    curve: str
    share: float
    log_odds: float
    lead: float
    error: float


class Lead(NamedTuple):
    """How far a layer's own maps lead a control: the mean distance between their curves.

    lead, error: the mean over all curves and images, in log-odds, and its standard error over the
    images; parts: the same for each of WAYS alone.
    """

    layer: str
    control: str
    lead: float
    error: float
    parts: Mapping[tuple[str, str], tuple[float, float]]


def mean_and_error(values: Scores) -> tuple[float, float]:
    """The mean of at least two values and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def points_of(layer: str, curves: Mapping[str, Curves]) -> list[Point]:
    """The curves of a layer's own maps and of its controls, share by share."""
    return [
        Point(
            layer,
            name,
            *way,
            float(share),
            float(of_map[way][:, column].mean()),
            *mean_and_error(lead(curves[OWN][way], of_map[way], way[1])[:, column]),
        )
        for name, of_map in curves.items()
        for way in WAYS
        for column, share in enumerate(SHARES[way[1]])
    ]


def leads_of(layer: str, curves: Mapping[str, Curves]) -> list[Lead]:
    """A layer's lead over each control; curves: by map, OWN among them."""
    found = []
    for control in CONTROLS:
        areas = {
            way: area(lead(curves[OWN][way], curves[control][way], way[1]), way[1]) for way in WAYS
        }
        parts = {way: mean_and_error(values) for way, values in areas.items()}
        overall = mean_and_error(np.mean(list(areas.values()), axis=0))
        found.append(Lead(layer, control, *overall, parts))
    return found


def metrics_of(leads: Sequence[Lead]) -> dict[str, float]:
    """Under each layer's name the smallest of its leads: that over the control that does best.

    Under the name and "_error" the standard error of that lead. A lead over one control proves
    little; maps that mean something lead each of them.
    """
    found: dict[str, float] = {}
    for layer in dict.fromkeys(each.layer for each in leads):
        least = min((e for e in leads if e.layer == layer), key=lambda e: e.lead)
        found |= {layer: least.lead, f"{layer}_error": least.error}
    return found


def headline(metrics: Mapping[str, float]) -> str:
    said = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    return said or "faithfulness is not measured: no two test images have the same predicted class"
