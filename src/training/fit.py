"""fit: SGD with momentum, to the bit the same however often it is interrupted."""

import math
import time
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from src.data.training_data import TrainingData
from src.pipeline.errors import InputError
from src.pipeline.files import append_json_line, read_json, write_csv
from src.pipeline.params import Params, Train
from src.pipeline.stop import Stopped, StopRequest
from src.training.checkpoint import Checkpoint
from src.training.run import Row, Run, Settings

# The host waits for the device this often, to notice divergence.
STEPS_BETWEEN_CHECKS = 20
COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


def read_rates(path: Path) -> dict[str, float]:
    """What lr_find found; InputError where the file does not hold its three rates."""
    mend = "run `dvc repro -f -s lr_find` to write it anew"
    found = read_json(path, mend)
    for name in ("lr", "base_lr", "max_lr"):
        rate = found.get(name)
        if not isinstance(rate, float) or not 0 < rate < math.inf:
            raise InputError(f"{path}: {name} is {rate!r}, not a rate above 0; {mend}")
    return found


def resolve_lr(train: Train, found: dict[str, float]) -> float:
    """train.lr, or for `auto` what lr_find found: a peak for the cyclic schedules."""
    if train.lr != "auto":
        return train.lr
    return found["max_lr" if train.schedule in {"one_cycle", "cyclic"} else "lr"]


def metrics(history: list[Row], settings: Settings) -> dict[str, float | str]:
    """What metrics/train.json says: the last epoch, whose weights are the result."""
    last = {k: v for k, v in history[-1].items() if k not in {"epoch", "lr"}}
    return {**last, "epochs": len(history), "lr": settings.lr, "precision": settings.precision}


class EpochLog:
    """Called after each epoch: the history as CSV, and the speed into an untracked log.

    history: rewritten whole, so `dvc plots show` works while training runs; log: JSON lines with
    the seconds of each epoch, its validation included, from which time to accuracy can be read,
    and the images a second of its training alone; run: names the run in the log.
    """

    def __init__(self, history: Path, log: Path, run: str, startup_seconds: float) -> None:
        self.history, self.log, self.run = history, log, run
        append_json_line(log, {"run": run, "startup_seconds": startup_seconds})

    def restore(self, rows: list[Row]) -> None:
        """Write the epochs that were done before: DVC deletes outputs when a stage starts."""
        if rows:
            # Empty cells without a validation split: DVC draws no chart that lacks a column.
            write_csv(self.history, COLUMNS, [[row.get(name) for name in COLUMNS] for row in rows])

    def __call__(self, rows: list[Row], speed: dict[str, float]) -> None:
        self.restore(rows)
        append_json_line(self.log, {"run": self.run, **rows[-1], **speed})


def fit(
    model: nn.Module,
    data: TrainingData,
    params: Params,
    settings: Settings,
    checkpoint: Checkpoint,
    on_epoch: EpochLog,
) -> list[Row]:
    """Train `model` in place, going on from the checkpoint where there is one.

    Returns a row an epoch. Raises Stopped on request, after writing the checkpoint, and
    InputError where training diverges, leaving the last good checkpoint.
    """
    run = Run(model, data, params, settings)
    state = checkpoint.load()
    if state:
        run.restore(state)
        print(f"going on from step {run.step:,} of {run.total_steps:,}", flush=True)
        on_epoch.restore(run.history)
    with StopRequest() as stop, progress(run) as bar:
        try:
            steps(run, checkpoint, stop, on_epoch, bar)
        except Stopped:
            run.check_finite()
            checkpoint.save(run.state())
            raise
    return run.history


def steps(
    run: Run, checkpoint: Checkpoint, stop: StopRequest, on_epoch: EpochLog, bar: "tqdm[Any]"
) -> None:
    """The steps that are still to come, with what belongs between them."""
    began, first = time.perf_counter(), run.step
    batch_size = run.params.train.batch_size

    def close_epoch() -> None:
        nonlocal began, first
        # Waits for the device: the steps that it still has to do are this epoch's.
        run.check_finite()
        speed = (run.step - first) * batch_size / (time.perf_counter() - began)
        row = run.end_epoch(stop.check)
        seconds = time.perf_counter() - began
        tqdm.write(line(row, run, seconds, speed))
        on_epoch(run.history, {"seconds": seconds, "images_per_second": speed})
        began, first = time.perf_counter(), run.step

    # A stop during validation leaves a full epoch that is not closed.
    if run.epoch_is_full():
        close_epoch()
    for images, labels in run.batches():
        run.train_step(images, labels)
        bar.update(batch_size)
        if run.step % STEPS_BETWEEN_CHECKS == 0:
            run.check_finite()
        if run.epoch_is_full():
            close_epoch()
        if checkpoint.due():
            run.check_finite()
            checkpoint.save(run.state())
        stop.check()


def progress(run: Run) -> "tqdm[Any]":
    """A bar with images/s and the time left, on a terminal only."""
    batch_size = run.params.train.batch_size
    return tqdm(
        total=run.total_steps * batch_size,
        initial=run.step * batch_size,
        unit="img",
        disable=None,
        dynamic_ncols=True,
    )


def line(row: Row, run: Run, seconds: float, speed: float) -> str:
    text = f"epoch {row['epoch']:>3}/{run.params.train.epochs}  lr {row['lr']:<8.3g}"
    for split in ("train", "val"):
        if f"{split}_loss" in row:
            loss, accuracy = row[f"{split}_loss"], row[f"{split}_accuracy"]
            text += f"  {split} loss {loss:.4f} accuracy {accuracy:.2%}"
    return f"{text}  {seconds:.1f} s  {speed:,.0f} images/s"
