"""A sheet of training images, each beside what augmentation makes of it."""

import math
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from src.figures.style import LOOK, Picture, drawn, enlarge, new_sheet, picture, words
from src.figures.text import drawable, text_width
from src.figures.words import short_names

# Sizes are in pixels; each pixel of an image becomes SCALE × SCALE pixels.
SCALE = 4
MARGIN, HEADER, GAP = 30, 120, 10


def build_augmentation(
    originals: Picture, draws: Picture, labels: Iterable[int], classes: Sequence[str]
) -> Figure:
    """Each row shows an original beside its random draws.

    originals: (R, H, W, 3); draws: (R, K, H, W, 3); labels: (R,); classes: all names, by label.
    """
    shown = short_names(drawable(classes))
    names = [shown[label] for label in labels]
    rows, columns, height, width = draws.shape[:4]
    step_x, step_y = SCALE * width + GAP, SCALE * height + GAP
    left = MARGIN + math.ceil(max(text_width(name, LOOK["font.size"]) for name in names)) + GAP
    first_draw = left + step_x + 2 * GAP
    figure = new_sheet(
        max(first_draw + columns * step_x - GAP + MARGIN, 750), HEADER + rows * step_y + MARGIN
    )
    words(figure, "Augmentation: each image and what training sees", MARGIN, 22, size=12)
    words(figure, "original", left, HEADER - 10, va="bottom")
    words(figure, "random draws", first_draw, HEADER - 10, va="bottom")
    for row, name in enumerate(names):
        top = HEADER + row * step_y
        words(figure, name, MARGIN, top + SCALE * height // 2, va="center")
        picture(figure, enlarge(originals[row], SCALE), left, top)
        for column, draw in enumerate(draws[row]):
            picture(figure, enlarge(draw, SCALE), first_draw + column * step_x, top)
    return figure


draw_augmentation = drawn(build_augmentation)
