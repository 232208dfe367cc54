"""The log of epochs, logs/train.jsonl, as a run wrote it."""

import json
from typing import Any


def last_run(log: str) -> list[dict[str, Any]]:
    """Start and epochs of the run that wrote the last line; the log has the lines of all runs.

    An epoch that was trained again after a kill is the one that counts.
    """
    rows = [json.loads(line) for line in log.splitlines()]
    run = [row for row in rows if row["run"] == rows[-1]["run"]]
    return [run[0], *{row["epoch"]: row for row in run if "epoch" in row}.values()]
