"""All figures of the test results, each beside the table of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src.figures.calibration import draw_adaptive, draw_calibration
from src.figures.corruptions import draw_corruptions
from src.figures.coverage import draw_coverage
from src.figures.evaluate import draw_classes, draw_confusion

if TYPE_CHECKING:
    # These names serve only as types, so figures need no torch.
    from src.evaluation.corruptions import CorruptionRow
    from src.evaluation.metrics import Evaluation


def draw_results(folder: Path, result: Evaluation, corruptions: Sequence[CorruptionRow]) -> None:
    """Write the figures into `folder`."""
    names = [row.name for row in result.classes]
    draw_confusion(folder / "confusion.png", result.confusion, names)
    draw_classes(folder / "classes.png", result.classes)
    draw_calibration(folder / "calibration.png", result.calibration)
    draw_adaptive(folder / "calibration_adaptive.png", result.adaptive)
    draw_coverage(folder / "coverage.png", result.coverage)
    draw_corruptions(folder / "corruptions.png", corruptions)
