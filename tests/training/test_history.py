"""What training reports: rows, their table, their log."""

import dataclasses
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.pipeline.files import read_numbers
from src.pipeline.params import Params
from src.pipeline.stop import Stopped
from src.training.history import EpochLog, summary
from src.training.run import Run
from src.training.validation import validate
from tests.conftest import tiny_data, tiny_values
from tests.tiny import TinyNet, params, train


def test_files_after_each_epoch(tmp_path: Path) -> None:
    lines = []

    class Watched(EpochLog):
        def __call__(self, *given: Any) -> None:
            super().__call__(*given)
            lines.append(len(self.history.read_text().splitlines()))

    history, _ = train(tmp_path, params(), log_kind=Watched)
    assert lines == [2, 3, 4]
    header, *rows = (tmp_path / "training.csv").read_text().splitlines()
    assert header == "epoch,lr,train_loss,train_accuracy,val_loss,val_accuracy"
    assert [[float(cell) for cell in row.split(",")] for row in rows] == [
        list(row.values()) for row in history
    ]
    start, *epochs = map(json.loads, (tmp_path / "train.jsonl").read_text().splitlines())
    assert "startup_seconds" in start
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert all(row["images_per_second"] > 0 and row["seconds"] > 0 for row in epochs)


@pytest.mark.parametrize("stopped_in", [None, 1, 14, 20])
def test_seconds_are_of_the_whole_epoch_and_speed_of_its_steps(
    stopped_in: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of an epoch that was stopped in the middle and gone on with an hour later."""
    clock = [0.0]

    def taking(seconds: float, work: Any) -> Any:
        def timed(*arguments: Any) -> Any:
            clock[0] += seconds
            return work(*arguments)

        return timed

    monkeypatch.setattr("src.training.fit.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(Run, "train_step", taking(1.0, Run.train_step))
    monkeypatch.setattr("src.training.run.validate", taking(7.0, validate))
    if stopped_in:
        model = TinyNet()
        model.fc.register_forward_hook(
            lambda *_: os.kill(os.getpid(), signal.SIGTERM) if model.steps == stopped_in else None
        )
        with pytest.raises(Stopped):
            train(tmp_path, params(epochs=2), model=model)
        clock[0] += 3600
    train(tmp_path, params(epochs=2))
    lines = map(json.loads, (tmp_path / "train.jsonl").read_text().splitlines())
    epochs = [line for line in lines if "epoch" in line]
    assert [row["seconds"] for row in epochs] == [10 * 1.0 + 7.0] * 2
    assert [row["images_per_second"] for row in epochs] == [16.0] * 2


def test_without_validation_its_columns_are_empty(tmp_path: Path) -> None:
    values = tiny_values()
    values["data"]["val_size"] = 0
    values["train"] |= {"schedule": "cosine", "epochs": 1}
    data = dataclasses.replace(tiny_data(), validation=None)
    history, _ = train(tmp_path, Params.model_validate(values), data=data)
    assert set(history[0]) == {"epoch", "lr", "train_loss", "train_accuracy"}
    assert set(summary(history, 0.1, "fp32")) == {
        "train_loss", "train_accuracy", "epochs", "lr", "precision",
    }  # fmt: skip
    (row,) = read_numbers(tmp_path / "training.csv", "")
    assert row == {**history[0], "val_loss": None, "val_accuracy": None}
