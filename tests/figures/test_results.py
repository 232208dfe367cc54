"""Every figure of the results is drawn."""

from pathlib import Path

import torch

from src.evaluation.metrics import evaluate
from src.figures.results import draw_results
from tests.figures.reading import NAMES

DRAWN = {
    "calibration", "calibration_adaptive", "classes", "confusion", "corruptions", "coverage"
}  # fmt: skip


def test_every_figure_of_the_results_is_drawn(tmp_path: Path) -> None:
    """Of a class that no image has too."""
    logits = torch.randn(30, 10, generator=torch.Generator().manual_seed(0))
    result = evaluate(logits, torch.arange(30) % 9, NAMES, 1.5)
    draw_results(tmp_path, result, [])
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.png" for name in DRAWN}
