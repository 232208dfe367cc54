"""Sheets of images beside the evidence that Grad-CAM finds in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from src.figures.style import (
    GREEN,
    RED,
    Picture,
    drawn,
    enlarge,
    new_sheet,
    picture,
    short,
    words,
)

if TYPE_CHECKING:
    # These names serve only as types, so figures need no torch.
    from src.explanation.examples import Cam, Mistake, Sample

EVIDENCE = matplotlib.colormaps["viridis"]
OPACITY = 0.45
# Sizes are in pixels; each pixel of an image becomes SCALE × SCALE pixels.
SCALE = 5
MARGIN, HEADER, GAP = 30, 140, 8
LETTER = 13
MISTAKES_ACROSS, GUTTER, CAPTION = 5, 36, 92


def overlay(image: Picture, cam: Cam, scale: int = SCALE) -> Picture:
    """The image in grey under the colours of its evidence, `scale` times as large.

    image: (H, W, 3); cam: (h, w) in [0, 1].
    The image is grey, because a green frog would look like evidence.
    """
    large = enlarge(image, scale)
    height, width = large.shape[:2]
    evidence = cv2.resize(cam.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)[..., None] / 255
    blend = (1 - OPACITY) * grey + OPACITY * EVIDENCE(evidence)[..., :3]
    pixels: Picture = np.rint(255 * blend).astype(np.uint8)
    return pixels


def place_overlay(figure: Figure, image: Picture, cam: Cam, left: int, top: int) -> None:
    """Place an overlay on the sheet, marked if its map shows no evidence at all."""
    pixels = overlay(image, cam)
    picture(figure, pixels, left, top)
    if not cam.any():
        height, width = pixels.shape[:2]
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
        place = {"ha": "center", "va": "bottom", "size": 8, "bbox": box}
        words(figure, "no evidence", left + width // 2, top + height - 8, **place)


def place_header(figure: Figure, title: str, subtitle: str) -> None:
    """Place title, subtitle, and the colours from low to high as they look over grey."""
    words(figure, title, MARGIN, 20, size=12)
    words(figure, subtitle, MARGIN, 52, size=9)
    ramp = np.linspace(0, 1, 64)[None]
    words(figure, "low", MARGIN, 94, va="center", size=9)
    picture(figure, overlay(np.full((3, 64, 3), 128, np.uint8), ramp), MARGIN + 46, 87)
    words(figure, "high evidence", MARGIN + 46 + 64 * SCALE + 12, 94, va="center", size=9)


def build_samples(rows: Sequence[Sample], layers: Sequence[str]) -> Figure:
    """Each row shows an image, then the evidence for its predicted class at every layer."""
    step, top_row = SCALE * rows[0].image.shape[0] + GAP, HEADER + 20
    lines = [line for row in rows for line in sample_label(row).split("\n")]
    start = MARGIN + LETTER * max(map(len, lines)) + GAP
    width = start + (1 + len(layers)) * step - GAP + MARGIN
    figure = new_sheet(max(width, 800), top_row + len(rows) * step + MARGIN)
    place_header(figure, "Grad-CAM", "Evidence for the predicted class, layer by layer")
    for place, heading in enumerate(["image", *layers]):
        words(figure, short(heading), start + place * step, top_row - 8, va="bottom", size=9)
    for place, row in enumerate(rows):
        place_sample(figure, row, start, top_row + place * step)
    return figure


def place_sample(figure: Figure, row: Sample, left: int, top: int) -> None:
    """Place one row: the label in the margin, the image at `left`, then its maps."""
    side = SCALE * row.image.shape[0]
    color = GREEN if row.predicted == row.actual else RED
    middle = {"va": "center", "linespacing": 1.5}
    words(figure, sample_label(row), MARGIN, top + side // 2, color=color, size=9, **middle)
    picture(figure, enlarge(row.image, SCALE), left, top)
    for place, cam in enumerate(row.cams, start=1):
        place_overlay(figure, row.image, cam, left + place * (side + GAP), top)


def sample_label(row: Sample) -> str:
    """Say in words whether the prediction is right, for readers who cannot tell colours apart."""
    verdict = "✓ right" if row.predicted == row.actual else "✗ wrong"
    predicted = f"predicted {short(row.predicted)} ({row.probability:.2f})"
    return f"{verdict}\n{predicted}\ntrue {short(row.actual)}"


def build_mistakes(rows: Sequence[Mistake]) -> Figure:
    """Five mistakes a row, each with its image and the evidence for both classes, said and true."""
    if not rows:
        figure = new_sheet(600, 200)
        words(figure, "No mistakes", 300, 100, ha="center", va="center", size=12)
        return figure
    side = SCALE * rows[0].image.shape[0]
    step_x, step_y = 3 * side + 2 * GAP + GUTTER, side + CAPTION
    down, across = -(-len(rows) // MISTAKES_ACROSS), min(len(rows), MISTAKES_ACROSS)
    figure = new_sheet(
        max(2 * MARGIN + across * step_x - GUTTER, 1050), HEADER + down * step_y + MARGIN // 2
    )
    subtitle = "Each image, the evidence for what the network said, the evidence for what it is"
    place_header(figure, "Mistakes (Grad-CAM)", subtitle)
    for place, row in enumerate(rows):
        y, x = divmod(place, MISTAKES_ACROSS)
        place_mistake(figure, row, MARGIN + x * step_x, HEADER + y * step_y)
    return figure


def place_mistake(figure: Figure, row: Mistake, left: int, top: int) -> None:
    """Place three pictures; below each map stand its class and probability."""
    side = SCALE * row.image.shape[0]
    said, is_ = left + side + GAP, left + 2 * (side + GAP)
    picture(figure, enlarge(row.image, SCALE), left, top)
    place_overlay(figure, row.image, row.predicted_cam, said, top)
    place_overlay(figure, row.image, row.actual_cam, is_, top)
    caption = f"said {row.predicted_probability:.2f}\n{short(row.predicted, 11)}"
    words(figure, caption, said, top + side + 4, size=11)
    caption = f"is {row.actual_probability:.2f}\n{short(row.actual, 11)}"
    words(figure, caption, is_, top + side + 4, size=11)


draw_samples = drawn(build_samples)
draw_mistakes = drawn(build_mistakes)
