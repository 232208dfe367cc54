"""What all sheets of explained images share: overlays, their colours, captions, the header.

A web page shows a sheet about 850 pixels wide. Sheets are at most 1,310 wide and their words at
least 10 points, so that these are at least 13 pixels high there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src.data import records
from src.figures.style import Picture, enlarge, picture, words
from src.figures.text import fit, fitted, text_width

if TYPE_CHECKING:
    # These names serve only as types, so figures need no torch.
    from src.explanation.subject import Cam, Example, Subject

METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
}
OPACITY = 0.45
# Sizes are in pixels; each pixel of an image becomes SCALE × SCALE, so its picture is SIDE wide.
SCALE = 6
SIDE = SCALE * records.SIDE
MARGIN, GAP, LINE = 24, 8, 27
HEADER = 177
LABEL = 250  # the column of words left of the pictures
TITLE, WORDS = 13, 10  # points


@dataclass(frozen=True)
class Legend:
    """How the maps of a run were made, and how a figure shows them.

    method: a key of METHODS; colors: one of Matplotlib's colour maps; sizes: height and width of
    each layer's maps; classes: names by label, which a figure shows in letters that it has;
    temperature: what the logits are divided by for the probabilities, or None.
    """

    method: str
    colors: str
    sizes: Mapping[str, tuple[int, int]]
    classes: Sequence[str]
    temperature: float | None

    @classmethod
    def of(cls, subject: Subject, colors: str) -> Legend:
        scale = subject.answers.temperature
        return cls(subject.method, colors, subject.sizes, subject.classes, scale)

    @property
    def title(self) -> str:
        return METHODS[self.method]

    @property
    def scale(self) -> str:
        """Which probabilities a sheet shows."""
        if self.temperature is None:
            return "Probabilities as trained"
        return f"Probabilities after temperature scaling ({self.temperature:.2f})"

    @property
    def layer(self) -> str:
        """The last layer and the resolution of its maps, which is that of the explanation."""
        return f"{list(self.sizes)[-1]}, {self.size(list(self.sizes)[-1])}"

    def size(self, layer: str) -> str:
        height, width = self.sizes[layer]
        return f"{height}×{width}"

    @cached_property
    def names(self) -> list[str]:
        """As a caption has room for, behind the word that says what the name is."""
        return fitted(self.classes, SIDE - text_width("said ", WORDS), WORDS)

    @cached_property
    def labels(self) -> list[str]:
        """The names as the column left of the pictures has room for."""
        return fitted(self.classes, LABEL - 2 * GAP - text_width("maps: ", WORDS), WORDS)


def enlarged(cam: Cam, height: int, width: int) -> NDArray[np.float32]:
    """The map (height, width), still with its peak: enlarging lowers a peak of one pixel."""
    large = cv2.resize(cam.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    scaled: NDArray[np.float32] = large * (cam.max() / (large.max() or 1))
    return scaled


def overlay(image: Picture, cam: Cam, colors: str, scale: int = SCALE) -> Picture:
    """The image in grey under the colours of its evidence, `scale` times as large.

    image: (H, W, 3); cam: (h, w) in [0, 1].
    The image is grey, because a green frog would look like evidence.
    """
    large = enlarge(image, scale)
    evidence = enlarged(cam, *large.shape[:2])
    grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)[..., None] / 255
    blend = (1 - OPACITY) * grey + OPACITY * matplotlib.colormaps[colors](evidence)[..., :3]
    pixels: Picture = np.rint(255 * blend).astype(np.uint8)
    return pixels


def place_overlay(
    figure: Figure, example: Example, legend: Legend, left: int, top: int, layer: int = 0
) -> None:
    """Place an overlay on the sheet, marked if its map shows no evidence at all."""
    cam = example.cams[layer]
    picture(figure, overlay(example.image, cam, legend.colors), left, top)
    if not cam.any():
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
        place = {"ha": "center", "va": "bottom", "size": WORDS, "bbox": box}
        words(figure, "no evidence", left + SIDE // 2, top + SIDE - 10, **place)


def place_lines(
    figure: Figure, lines: Sequence[str], left: int, top: int, width: int, **look: Any
) -> None:
    """Place lines of words, each cut to `width` pixels."""
    for place, line in enumerate(lines):
        text = fit(line, width, WORDS)
        words(figure, text, left, top + place * LINE, size=WORDS, **look)


def place_header(figure: Figure, title: str, subtitle: str, legend: Legend) -> None:
    """Place title, subtitle, scale, and the colours from low to high as they look over grey."""
    width = round(figure.bbox.width) - 2 * MARGIN
    words(figure, fit(title, width, TITLE), MARGIN, 18, size=TITLE)
    place_lines(figure, [subtitle, legend.scale], MARGIN, 58, width)
    ramp = overlay(np.full((4, 48, 3), 128, np.uint8), np.linspace(0, 1, 48)[None], legend.colors)
    left = MARGIN + round(text_width("low", WORDS)) + 12
    middle = HEADER - 42
    words(figure, "low", MARGIN, middle, va="center", size=WORDS)
    picture(figure, ramp, left, middle - ramp.shape[0] // 2)
    words(figure, "high evidence", left + ramp.shape[1] + 12, middle, va="center", size=WORDS)


def place_explained(
    figure: Figure, maps: Mapping[str, Example], legend: Legend, left: int, top: int
) -> None:
    """Place an image and its overlays; below each overlay stand its class and probability.

    maps: by the word that goes before the class, the same image explained for this class.
    """
    first = next(iter(maps.values()))
    below = top + SIDE + 6
    picture(figure, enlarge(first.image, SCALE), left, top)
    place_lines(figure, [f"image {first.index}"], left, below, SIDE)
    for place, (verb, example) in enumerate(maps.items(), start=1):
        x = left + place * (SIDE + GAP)
        place_overlay(figure, example, legend, x, top)
        lines = [f"{verb} {legend.names[example.target]}", f"{example.target_probability:.2f}"]
        place_lines(figure, lines, x, below, SIDE)
