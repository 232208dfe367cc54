"""Faithful maps lead every control; maps that name the wrong pixels do not."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from src.data.normalize import Normalize
from src.data.records import Split
from src.explanation.controls import random_maps
from src.explanation.faithfulness import Faithfulness, measure
from src.explanation.gradcam import grad_cam
from src.explanation.leads import CONTROLS, headline, metrics_of
from src.explanation.sanity import Check
from src.explanation.tables import tables
from src.network.weights import Trained
from src.pipeline.errors import InputError
from tests.tiny import NoMemory

NORMALIZE = Normalize([0.0] * 3, [1 / 255] * 3, torch.device("cpu"))
PREDICTED = np.ones(40, np.int64)


class Squares(nn.Module):
    """The evidence for class 1 is how bright the red squares are; green ones tell nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.AvgPool2d(2)
        self.anything = nn.Parameter(torch.zeros(1))  # every network has one

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red = self.keep(images)[:, 0].mean((1, 2))
        return torch.stack([torch.zeros_like(red), 60 * red - 2], dim=1)


def squares() -> Split:
    """Each image has a red square and a green one, in places of their own."""
    rng = np.random.default_rng(0)
    images = np.zeros((len(PREDICTED), 32, 32, 3), np.uint8)
    for image in images:
        for channel in (0, 1):
            top, left = rng.integers(0, 24, 2)
            image[top : top + 8, left : left + 8, channel] = 1
    return Split(images, PREDICTED)


def measured(count: int = 20, others: int = 8) -> Faithfulness:
    trained = Trained(Squares(), NORMALIZE, "fp32")
    return measure(trained, {"keep": (16, 16)}, squares(), PREDICTED, count, others, "gradcam")


def test_a_faithful_map_leads_every_control() -> None:
    found = measured()
    assert found.images == 20
    assert [lead.control for lead in found.leads] == list(CONTROLS)
    for lead in found.leads:
        assert lead.lead > 3 * lead.error > 0, lead.control
    assert metrics_of(found.leads).keys() == {"keep", "keep_error"}


def test_blobs_have_the_layers_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def record(*args: Any) -> np.ndarray:
        asked.append(tuple(args[1]))
        return random_maps(*args)

    monkeypatch.setattr("src.explanation.faithfulness.random_maps", record)
    measured(count=2)
    assert asked == [(32, 32), (16, 16)]  # pixels, then blobs of what is pooled by two


def test_a_map_of_the_wrong_pixels_leads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(*args: object) -> dict[str, torch.Tensor]:
        return {name: 1 - cam for name, cam in grad_cam(*args).items()}

    monkeypatch.setattr("src.explanation.maps.grad_cam", turned)
    found = measured()
    for lead in found.leads:
        if lead.control != "same class":  # those are turned too
            assert lead.lead < -3 * lead.error, lead.control


def test_a_map_that_is_the_same_for_all_images_does_not_lead_its_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However much better than chance it is: it explains the class and not the image."""
    middle = 1 - torch.linspace(-1, 1, 32).square()

    def always(*args: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"keep": (middle * middle[:, None]).expand(len(args[2]), -1, -1)}

    monkeypatch.setattr("src.explanation.maps.grad_cam", always)
    (lead,) = [lead for lead in measured().leads if lead.control == "same class"]
    assert lead.lead == pytest.approx(0, abs=1e-6)


def test_it_repeats_and_does_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(count=4)
    assert measured(count=4) == whole
    monkeypatch.setattr("src.explanation.maps.BATCH", 3)
    monkeypatch.setattr("src.explanation.curves.EVAL_BATCH", 5)
    for lead, again in zip(whole.leads, measured(count=4).leads, strict=True):
        assert again.lead == pytest.approx(lead.lead, rel=1e-4)


def test_the_tables_have_a_cell_for_each_column() -> None:
    found = measured(count=2, others=1)
    checks = [Check(0, "as trained", "keep", 1.0, 0.0, 2, 0.0)]
    made = tables(found, checks)
    assert list(made) == ["faithfulness", "faithfulness_curves", "sanity"]
    for header, rows in made.values():
        assert len(rows) > 0
        assert {len(row) for row in rows} == {len(header)}
    header, rows = made["faithfulness"]
    row = dict(zip(header, rows[1], strict=True))
    assert (row["comparison"], row["layer"], row["control"]) == ("keep, blobs", "keep", "blobs")
    ways = ["blur_deletion", "blur_insertion", "linear_deletion", "linear_insertion"]
    assert row["lead"] == pytest.approx(np.mean([row[way] for way in ways]))


def test_nothing_is_measured_where_all_images_are_of_different_classes() -> None:
    """As where each class has one test image and the network is right."""
    trained = Trained(Squares(), NORMALIZE, "fp32")
    found = measure(trained, {"keep": (32, 32)}, squares(), np.arange(40), 8, 3, "gradcam")
    assert found == Faithfulness(0, [], [])
    assert metrics_of(found.leads) == {}
    assert headline({}).startswith("faithfulness is not measured: no two test images")
    assert [len(rows) for _, rows in tables(found, []).values()] == [0, 0, 0]


def test_images_too_many_for_the_memory_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros((8, 32, 32), np.float32)
    monkeypatch.setattr(
        "src.explanation.faithfulness.own_and_others", lambda *_: {"layer": (zeros, zeros)}
    )
    trained = Trained(NoMemory(), NORMALIZE, "fp32")
    with pytest.raises(InputError, match=r"^faithfulness of 8 images does not .*faithfulness_imag"):
        measure(trained, {"layer": (4, 4)}, squares(), PREDICTED, 8, 3, "gradcam")
