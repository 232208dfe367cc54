"""Drawn examples, and the check that their sheets can be read where a web page shows them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src.explanation.examples import Mistake
from src.explanation.subject import Example
from src.figures.evidence import Legend
from tests.figures.reading import IMAGES, LONG, NAMES, drawn_texts, unreadable

BLOB = np.exp(-((np.arange(32)[:, None] - 12) ** 2 + (np.arange(32) - 20) ** 2) / 60)
ZERO = np.zeros((32, 32))
# A page shows a sheet this wide; its smallest words shall be this high there.
PAGE, READABLE = 850, 11


def legend(
    layers: Sequence[str] = ("layer4",),
    classes: Sequence[str] = NAMES,
    method: str = "gradcam",
    colors: str = "viridis",
    temperature: float | None = 0.687,
) -> Legend:
    return Legend(method, colors, dict.fromkeys(layers, (4, 4)), classes, temperature)


def example(
    actual: int = 3,
    predicted: int = 3,
    target: int | None = None,
    cams: Sequence[NDArray[np.float64]] = (BLOB,),
    index: int = 9_999,
) -> Example:
    explained = predicted if target is None else target
    return Example(index, IMAGES[index % 8], actual, predicted, 0.97, explained, 0.02, cams)


def mistake(actual: int = 3, said: int = 1) -> Mistake:
    return Mistake(example(actual, said), example(actual, said, actual))


def many(count: int) -> list[str]:
    """As many names, all long, in scripts that the font has and has not."""
    kinds = [
        LONG,
        "собака_очень_длинная_порода",
        "キャット猫",
        "W" * 40,
        "قط",
        "$x_1$",
        "Ünïcödé ☂",
    ]
    return [f"{kinds[label % len(kinds)]} {label}" for label in range(count)]


def faults(figure: Figure) -> list[str]:
    """What cannot be read on the sheet, also once a page shows it PAGE pixels wide."""
    scale = min(1, PAGE / figure.bbox.width)
    small = [
        f"small: {text.get_text()}"
        for text in drawn_texts(figure)
        if text.get_fontsize() * figure.dpi / 72 * scale < READABLE
    ]
    return unreadable(figure) + small
