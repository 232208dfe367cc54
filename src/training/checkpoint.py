"""The resume state: atomic, and used only by the run that it belongs to.

One file a fingerprint in an untracked folder. The fingerprint covers all that decides a
result, so a state of another configuration, other data, code, libraries or hardware is never found.
"""

import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from src.data.tensors import load_tensors, save_tensors
from src.pipeline.errors import InputError

State = tuple[dict[str, Tensor], dict[str, Any]]


def fingerprint(decisive: Mapping[str, Any]) -> str:
    """A short name for everything that decides a training run's result."""
    text = json.dumps(decisive, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checkpoint_seconds() -> float:
    """How often the state is written: the environment's CHECKPOINT_SECONDS, else every minute."""
    text = os.environ.get("CHECKPOINT_SECONDS", "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(
            f"CHECKPOINT_SECONDS: {text!r} is not a number above 0 (environment variable)"
        )
    return seconds


class Checkpoint:
    """The state file of one run, written every `seconds`."""

    def __init__(self, folder: Path, name: str, seconds: float) -> None:
        self.path = folder / f"{name}.safetensors"
        self.seconds = seconds
        self.written = time.monotonic()

    def load(self) -> State | None:
        """The newest state, or None; InputError where the file is damaged.

        RESUME=0 in the environment removes it, to train afresh.
        """
        if os.environ.get("RESUME") == "0":
            self.remove()
        if not self.path.exists():
            return None
        mend = "delete it, or run `RESUME=0 dvc repro`, to train afresh"
        return load_tensors(self.path, mend)

    def due(self) -> bool:
        return time.monotonic() - self.written >= self.seconds

    def save(self, state: State) -> None:
        save_tensors(self.path, *state)
        self.written = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


@contextmanager
def only_trainer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; InputError where another trainer holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    with lock:
        try:
            # The kernel drops it with the process, however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another training is running here; wait for it, stop it, or use "
                "`dvc exp run --temp`, which has a folder of its own"
            ) from error
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be locked ({error.strerror}), so two trainings could not be "
                "kept apart; put the project on a file system that has locks"
            ) from error
        # Else the loader's workers would hold it for seconds after the trainer was killed.
        os.register_at_fork(after_in_child=lock.close)
        yield
