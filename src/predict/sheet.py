"""A picture of any size beside the evidence for its class, layer by layer.

The picture, once it has a size for a screen, and its evidence are joined as arrays, so that each
pixel stays as it is. Matplotlib draws the lines of text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from src.explanation.subject import Cam
from src.figures.evidence import OPACITY, enlarged
from src.figures.style import DPI, Picture, enlarge, look, new_sheet, picture, words
from src.figures.text import fit
from src.figures.words import short, short_paths
from src.pictures import centre_square
from src.pipeline.files import whole_file
from src.predict.explanations import mark

COLOURS = np.rint(255 * matplotlib.colormaps["viridis"](np.arange(256))[:, :3]).astype(np.uint8)
# How bright that part of a picture stays which the network did not see.
UNSEEN = 0.4
# Sides in pixels: larger pictures are shrunk, much smaller ones enlarged. A column is at least as
# wide as SMALL. The network saw 32×32 pixels, so a larger map would show nothing new.
LARGE, SMALL = 1024, 160
WHITE = 255


def for_screen(picture: Picture, small: int = SMALL) -> Picture:
    """The picture in a size for a screen: sides of at most LARGE, enlarged by whole factors."""
    height, width = picture.shape[:2]
    if (longest := max(height, width)) <= LARGE:
        return enlarge(picture, max(1, small // longest))
    size = [max(1, round(side * LARGE / longest)) for side in (width, height)]
    shrunk: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return shrunk


def evidence(image: Picture, cam: Cam) -> Picture:
    """The picture in grey, under the colours of its evidence where the network saw it.

    image: (H, W, 3); cam: (h, w) in [0, 1], of the picture's middle square. The rest is dark.
    """
    left, top, side = (round(edge) for edge in centre_square(*image.shape[:2]))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pixels: Picture = cv2.convertScaleAbs(grey, alpha=UNSEEN)
    colours = COLOURS[np.rint(255 * enlarged(cam, side, side)).astype(np.uint8)]
    seen = np.s_[top : top + side, left : left + side]
    pixels[seen] = cv2.addWeighted(grey[seen], 1 - OPACITY, colours, OPACITY, 0)
    return pixels


def build_explanation(image: Picture, cams: Mapping[str, Cam], title: str, name: str) -> Picture:
    """The picture and its evidence at each layer, side by side in a size for a screen.

    image: (H, W, 3); cams: by layer, (h, w) in [0, 1], of the picture's middle square; title:
    above them; name: of the class that they speak for.
    """
    image = for_screen(image)
    height, width = image.shape[:2]
    column, gap, line = max(width, SMALL), max(8, width // 50), max(24, width // 20)
    names = zip(short_paths(list(cams)), cams.values(), strict=True)
    said = [layer if cam.any() else f"{layer}: none" for layer, cam in names]
    meaning = f"low to high evidence for {short(name)}" if cams else ""
    head = header(title, meaning, ["picture", *said], column, gap, line)
    sheet = np.full((len(head) + height + gap, head.shape[1], 3), WHITE, np.uint8)
    sheet[: len(head)] = head
    for place, cam in enumerate([None, *cams.values()]):
        left = gap + place * (column + gap)
        shown = image if cam is None else evidence(image, cam)
        sheet[len(head) : len(head) + height, left : left + width] = shown
    return sheet


def header(
    title: str, meaning: str, columns: Sequence[str], column: int, gap: int, line: int
) -> Picture:
    """The lines above the pictures: the title, the colours and their meaning, each column's name.

    meaning: empty where there is no map, and then the colours are left out; column, gap, line:
    widths of the columns and between them, and the lines' height, in pixels.
    """
    width = gap + len(columns) * (column + gap)
    points = line * 72 / DPI * 0.7
    ramp = np.repeat(np.repeat(COLOURS[None], line // 2, axis=0), max(1, line // 48), axis=1)
    ramp = cv2.addWeighted(np.full_like(ramp, 128), 1 - OPACITY, ramp, OPACITY, 0)
    with look():
        sheet = new_sheet(width, 4 * line)
        title = fit(title, width - 2 * gap, points * 1.2)
        words(sheet, title, gap, line // 4, size=points * 1.2)
        if meaning:
            picture(sheet, ramp, gap, 7 * line // 4)
        after = gap + ramp.shape[1] + line // 4
        words(
            sheet,
            fit(meaning, width - after - gap, points),
            after,
            2 * line,
            size=points,
            va="center",
        )
        for place, text in enumerate(columns):
            left = gap + place * (column + gap)
            heading = fit(text, column, points)
            words(sheet, heading, left, 4 * line - 4, size=points, va="bottom")
        canvas = FigureCanvasAgg(sheet)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_explanation(
    path: Path, image: Picture, cams: Mapping[str, Cam], title: str, name: str
) -> None:
    """Write the sheet of `build_explanation` as PNG; the same input gives the same bytes.

    It is marked, so that the next one may take its place, and a photograph's none.
    """
    with whole_file(path) as handle:
        sheet = Image.fromarray(build_explanation(image, cams, title, name))
        sheet.save(handle, "png", pnginfo=mark())
