"""The log of epochs, logs/train.jsonl, as a run wrote it."""

import json
from contextlib import suppress
from typing import Any

from src.pipeline import paths
from src.pipeline.errors import InputError


def last_run(log: str) -> list[dict[str, Any]]:
    """Start and epochs of the run that wrote the last line; the log has the lines of all runs.

    An epoch that was trained again after a kill is the one that counts. A run of fewer epochs may
    follow one of more that has the same name. Raises InputError where the log names no run.
    """
    rows = whole_rows(log)
    if not rows:
        raise InputError(f"{paths.LOG}: has no whole line; `dvc repro -f` trains anew")
    if other := [row for row in rows if "run" not in row]:
        raise InputError(
            f"{paths.LOG}: a line names no run, as no training writes it; remove it: "
            f"{json.dumps(other[0])}"
        )
    run = [row for row in rows if row["run"] == rows[-1]["run"]]
    if "epoch" in run[0]:
        raise InputError(
            f"{paths.LOG}: the first line of the last run is cut; `dvc repro -f` trains anew"
        )
    epochs = {row["epoch"]: row for row in run if "epoch" in row}
    last = next((row["epoch"] for row in reversed(run) if "epoch" in row), 0)
    return [run[0], *(row for epoch, row in epochs.items() if epoch <= last)]


def whole_rows(log: str) -> list[dict[str, Any]]:
    """The object in each line of JSON, without the lines that a full disk or a kill has cut."""
    rows = []
    for line in log.splitlines():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]
