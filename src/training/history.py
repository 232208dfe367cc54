"""What training reports: a row per epoch, the table of rows, the log and the printed line."""

from collections.abc import Mapping
from pathlib import Path

from src.pipeline.files import append_json_line, write_csv

Row = dict[str, float]
COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


def summary(history: list[Row], lr: float, precision: str) -> dict[str, float | str]:
    """The content of metrics/train.json: the last epoch, whose weights are the result."""
    names = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
    last = {name: history[-1][name] for name in names if name in history[-1]}
    return {**last, "lr": lr, "epochs": len(history), "precision": precision}


class EpochLog:
    """Writes the history as CSV and the speed to an untracked log after each epoch.

    history: the CSV, rewritten whole, so `dvc plots show` works while training runs; log: JSON
    lines with each epoch's seconds, validation included, which give the time to accuracy, and the
    images a second of training alone; run: the run's name in the log; about: what the run's first
    line in the log says.
    """

    def __init__(self, history: Path, log: Path, run: str, about: Mapping[str, object]) -> None:
        self.history, self.log, self.run = history, log, run
        append_json_line(log, {"run": run, **about})

    def restore(self, rows: list[Row]) -> None:
        """Write the earlier epochs again, because DVC deletes outputs when a stage starts."""
        if rows:
            # Without a validation split cells stay empty: DVC draws no chart that lacks a column.
            write_csv(self.history, COLUMNS, [[row.get(name) for name in COLUMNS] for row in rows])

    def __call__(self, rows: list[Row], speed: Mapping[str, float]) -> None:
        self.restore(rows)
        append_json_line(self.log, {"run": self.run, **rows[-1], **speed})


def epoch_line(row: Row, epochs: int, seconds: float, images_per_second: float) -> str:
    """The line that a person reads after each epoch."""
    text = f"epoch {row['epoch']:>3}/{epochs}  lr {row['lr']:<8.3g}"
    for split in ("train", "val"):
        if f"{split}_loss" in row:
            loss, accuracy = row[f"{split}_loss"], row[f"{split}_accuracy"]
            text += f"  {split} loss {loss:.4f} accuracy {accuracy:.2%}"
    return f"{text}  {seconds:.1f} s  {images_per_second:,.0f} images/s"
