"""How the tests read a figure: its words, where they overlap, and whether its file repeats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from src.evaluation.classes import ClassRow
from src.figures.style import look

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LONG = "aquarium_fish_of_the_deep"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Case:
    """A figure's two functions, one that builds it and one that writes it, and what it shows."""

    build: Callable[..., Figure]
    draw: Callable[..., None]
    shown: tuple[Any, ...]

    def figure(self) -> Figure:
        with look():
            return self.build(*self.shown)


def scored(
    name: str,
    precision: float | None,
    recall: float | None,
    f1: float | None,
    interval: tuple[float | None, float | None] = (None, None),
) -> ClassRow:
    """A class with these scores; interval: of its recall."""
    return ClassRow(name, precision, recall, f1, 1000, *interval, 0.02)


def drawn_texts(figure: Figure) -> list[Text]:
    """The texts that appear when the figure is drawn; ticks out of view do not."""
    seen: dict[int, Text] = {}
    draw_text = Text.draw

    def record(text: Text, *args: Any, **kwargs: Any) -> None:
        seen[id(text)] = text
        draw_text(text, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, look():
        patch.setattr(Text, "draw", record)
        FigureCanvasAgg(figure).draw()
    return [text for text in seen.values() if text.get_visible() and text.get_text().strip()]


def unreadable(figure: Figure) -> list[str]:
    """Each text that is cut or lies on a picture, and each pair that overlaps by over a pixel."""
    texts = drawn_texts(figure)
    boxes = np.array([text.get_window_extent().extents for text in texts])
    inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2:] <= figure.bbox.extents[2:]).all(1)
    faults = [
        f"cut: {text.get_text()}" for text, fits in zip(texts, inside, strict=True) if not fits
    ]
    # The upright box round a slanted label does not show whether the label touches the next one.
    upright = [i for i, text in enumerate(texts) if text.get_rotation() % 90 == 0]
    low, high = boxes[upright, :2], boxes[upright, 2:]
    common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    for a, b in np.argwhere(np.triu((common > 1).all(2), k=1)):
        faults.append(f"overlap: {texts[upright[a]].get_text()} | {texts[upright[b]].get_text()}")
    for picture in figure.images:
        left, right, bottom, top = picture.get_extent()  # type: ignore[attr-defined]
        on_it = (
            np.minimum(boxes[:, 2:], (right, top)) - np.maximum(boxes[:, :2], (left, bottom))
        ) > 1
        faults += [f"on a picture: {texts[i].get_text()}" for i in np.flatnonzero(on_it.all(1))]
    return [fault for fault in faults if fault != "on a picture: no evidence"]


def words_of(figure: Figure) -> str:
    texts = (text.get_text() for text in figure.findobj(Text))
    return "\n".join(filter(None, texts))


def check_file(case: Case, folder: Path) -> None:
    """The PNG is whole, repeats byte for byte, and has a size that a page can show."""
    for path in (folder / "a.png", folder / "b.png"):
        case.draw(path, *case.shown)
    content = (folder / "a.png").read_bytes()
    assert content == (folder / "b.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"matplotlib" not in content  # an upgrade alone must change no metadata
    height, width = cv2.imread(str(folder / "a.png")).shape[:2]
    assert 190 <= height <= 2500
    assert 590 <= width <= 2800
