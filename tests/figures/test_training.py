"""The figure of the training names the best and last values, and where the rate comes from."""

from pathlib import Path

import numpy as np
import pytest

from src.figures import training
from tests.figures.reading import Case, check_file, unreadable, words_of

ROUNDED = {
    "steep": 0.01, "valley": 0.01, "minimum": 0.5, "slide": 0.01, "base_lr": 0.002, "max_lr": 0.2
}  # fmt: skip
DRAWING = (training.build_training, training.draw_training)


def history(epochs: int, validation: bool, last_lr: float = 0.001) -> list[dict[str, float | None]]:
    rows: list[dict[str, float | None]] = []
    for epoch in range(1, epochs + 1):
        quality = 1 - np.exp(-epoch / 8)
        row = {"epoch": epoch, "lr": last_lr if epoch == epochs else 0.1}
        for split in ("train", "val") if validation else ("train",):
            row |= {f"{split}_loss": 2.3 - 2 * quality, f"{split}_accuracy": 0.9 * quality}
        rows.append(row)
    return rows


CASES = {
    "to_zero": Case(*DRAWING, (history(200, True, 0.0), 0.1, ROUNDED)),
    "one_epoch": Case(*DRAWING, (history(1, False), 0.01, ROUNDED)),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_whole_and_apart(name: str) -> None:
    assert unreadable(CASES[name].figure()) == []


@pytest.mark.parametrize("name", ["one_epoch"])
def test_png_is_whole_and_repeats(name: str, tmp_path: Path) -> None:
    check_file(CASES[name], tmp_path)


def test_no_validation_split_is_said() -> None:
    figure = CASES["one_epoch"].figure()
    assert words_of(figure).count("no validation split") == 2
    assert len(figure.axes) == 5


def test_best_is_the_lowest_loss_and_the_highest_accuracy() -> None:
    rows = history(3, True)
    rows[1] |= {"val_loss": 0.1, "val_accuracy": 0.99}
    text = words_of(Case(*DRAWING, (rows, 0.01, ROUNDED)).figure())
    assert "best 0.100 (epoch 2)" in text
    assert "best 99.0% (epoch 2)" in text


def test_the_rate_that_training_took_has_its_name() -> None:
    named, number = (words_of(CASES[c].figure()) for c in ("one_epoch", "to_zero"))
    assert "rate 0.01 = lr_find's steep and valley and slide" in named
    assert "rate 0.1, set in params.yaml" in number
