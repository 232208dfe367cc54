"""Overlays have the evidence's colours, and the header says how the maps were made."""

from typing import get_args

import matplotlib
import numpy as np
import pytest

from src.explanation.gradcam import WEIGHTS
from src.figures.evidence import METHODS, OPACITY, SCALE, Legend, enlarged, overlay, place_header
from src.figures.style import look, new_sheet
from src.pipeline.params import Gradcam
from tests.figures.explained import faults, legend
from tests.figures.reading import IMAGES, LONG, words_of

COLORS = get_args(Gradcam.model_fields["colors"].annotation)


@pytest.mark.parametrize("size", [(4, 4), (32, 32)])
def test_overlay_has_the_shown_size(size: tuple[int, int]) -> None:
    shown = overlay(IMAGES[0], np.ones(size), "viridis", scale=4)
    assert shown.shape == (128, 128, 3)
    assert shown.dtype == np.uint8


@pytest.mark.parametrize("colors", COLORS)
@pytest.mark.parametrize("evidence", [0.0, 1.0])
def test_an_overlay_over_black_is_the_colour_of_its_evidence(colors: str, evidence: float) -> None:
    shown = overlay(np.zeros((8, 8, 3), np.uint8), np.full((8, 8), evidence), colors)
    color = np.array(matplotlib.colormaps[colors](evidence)[:3])
    assert (shown == np.rint(255 * OPACITY * color)).all()


def test_the_colours_differ() -> None:
    sheets = [overlay(IMAGES[0], np.ones((4, 4)), colors) for colors in COLORS]
    assert len(COLORS) == 2
    assert (sheets[0] != sheets[1]).any()


def test_each_method_has_its_name() -> None:
    assert set(METHODS) == set(WEIGHTS)
    assert [legend(method=method).title for method in ("gradcam++", "hirescam")] == [
        "Grad-CAM++",
        "HiResCAM",
    ]


def test_the_last_layer_is_named_with_its_resolution() -> None:
    sizes = {"layer1": (32, 32), "layer4.1.conv2": (4, 5)}
    assert Legend("gradcam", "viridis", sizes, ["cat"], None).layer == "layer4.1.conv2, 4×5"


@pytest.mark.parametrize(
    ("temperature", "said"),
    [
        (None, "Probabilities as trained"),
        (0.687, "Probabilities after temperature scaling (0.69)"),
    ],
)
def test_the_header_names_the_scale_of_the_probabilities(
    temperature: float | None, said: str
) -> None:
    with look():
        figure = new_sheet(800, 200)
        place_header(figure, "Title", "Subtitle", legend(temperature=temperature))
    assert said in words_of(figure)


def test_the_header_fits_a_narrow_sheet() -> None:
    with look():
        figure = new_sheet(800, 200)
        place_header(figure, f"Title {LONG * 4}", f"Subtitle {LONG * 4}", legend())
    assert faults(figure) == []
    assert "low" in words_of(figure)
    assert "Probabilities after temperature scaling (0.69)" in words_of(figure)
    assert figure.images[0].get_array().shape == (4 * SCALE, 48 * SCALE, 3)


def test_a_peak_of_one_pixel_keeps_its_height() -> None:
    cam = np.zeros((32, 32), np.float32)
    cam[5, 7] = 1
    for side in (192, 768):
        assert enlarged(cam, side, side).max() == pytest.approx(1)
        assert enlarged(cam / 2, side, side).max() == pytest.approx(0.5)
    assert not enlarged(0 * cam, 192, 192).any()
