"""The resume state: atomic, and used only by the run that it belongs to.

A run's state and what it rests on lie in an untracked folder, under a name that covers all that
decides the result; so a state of other parameters, data, code, libraries or hardware is never used.
It stays after the run has ended: DVC may fail to record a result that took hours.
"""

import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from src.data.tensors import load_tensors, save_tensors
from src.pipeline.errors import InputError
from src.pipeline.files import read_json, write_json
from src.pipeline.lock import md5
from src.pipeline.params import Train

State = tuple[dict[str, Tensor], dict[str, Any]]
Decisive = Mapping[str, Any]
VALUE, EPOCHS = "params.yaml: ", "params.yaml: train.epochs"


def fingerprint(decisive: Decisive) -> str:
    """A short name for everything that decides a training run's result."""
    text = json.dumps(decisive, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_epochs(decisive: Decisive, train: Train) -> dict[str, Any]:
    """`decisive`, less train.epochs where a longer run begins exactly as a shorter one does.

    That is so with plateau and cyclic at one image size: no step then depends on the number of
    epochs.
    """
    alike = train.schedule in {"plateau", "cyclic"} and len(set(train.resolution)) == 1
    return {key: value for key, value in decisive.items() if not (alike and key == EPOCHS)}


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
    """The state of one run, written every `seconds`, and what is known of it."""

    def __init__(self, folder: Path, decisive: Decisive, seconds: float) -> None:
        self.folder, self.decisive, self.seconds = folder, decisive, seconds
        self.name = fingerprint(decisive)
        self.path, self.about = folder / f"{self.name}.safetensors", folder / f"{self.name}.json"
        self.written = time.monotonic()

    def load(self) -> State | None:
        """The newest state, or None; InputError where the file is damaged.

        RESUME=0 in the environment removes it, to train afresh.
        """
        if os.environ.get("RESUME") == "0" and self.path.exists():
            self.remove("RESUME=0 asks to train afresh")
        if not self.path.exists():
            for note in notes(self.folder, self.name, self.decisive):
                print(note, flush=True)
            return None
        mend = "delete it, or run `RESUME=0 dvc repro`, to train afresh"
        return load_tensors(self.path, mend)

    def due(self) -> bool:
        return time.monotonic() - self.written >= self.seconds

    def save(self, state: State) -> None:
        """Write the state of a run that has no result yet."""
        if known(self.about).keys() != {"decisive"}:
            write_json(self.about, {"decisive": self.decisive})
        save_tensors(self.path, *state)
        self.written = time.monotonic()

    def finish(self, epochs: int, weights: Path) -> None:
        """Note the result of the state, and remove the older states that DVC has recorded.

        epochs: train.epochs; weights: the file that was written.
        """
        result = {"epochs": epochs, "weights": md5(weights)}
        write_json(self.about, {"decisive": self.decisive, "result": result})
        for about in self.folder.glob("*.json"):
            if about != self.about and known(about).get("recorded"):
                about.with_suffix(".safetensors").unlink(missing_ok=True)
                about.unlink()

    def drop_recorded(self, epochs: int, recorded: str | None) -> None:
        """Remove this run's state where its result is the one in dvc.lock.

        Whoever runs the stage again after that wants it trained again. A state of fewer or more
        epochs stays: a longer run goes on from it. recorded: the md5 of the weights in dvc.lock.
        """
        for about in self.folder.glob("*.json"):
            values = known(about)
            if recorded and values.get("result", {}).get("weights") == recorded:
                write_json(about, {**values, "recorded": True})
        # Not by that mark: dvc.lock may have gone back to another run since.
        if recorded and known(self.about).get("result") == {"epochs": epochs, "weights": recorded}:
            self.remove("dvc.lock has its result")

    def remove(self, why: str) -> None:
        print(f"{self.path} is removed: {why}", flush=True)
        self.path.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)


def known(about: Path) -> dict[str, Any]:
    """What is known of a state; nothing where the file is missing or damaged."""
    with suppress(InputError):
        values = read_json(about, "")
        if all(isinstance(values.get(name, {}), dict) for name in ("decisive", "result")):
            return values
    return {}


def notes(folder: Path, name: str, decisive: Decisive) -> Iterator[str]:
    """A sentence for each other state that a person may have expected to be used, and why not."""
    for about in sorted(folder.glob("*.json")):
        theirs = known(about).get("decisive", {})
        differing = [k for k in theirs.keys() | decisive.keys() if theirs.get(k) != decisive.get(k)]
        state = about.with_suffix(".safetensors")
        if about.stem == name or not theirs or not state.exists():
            continue
        if differing == [EPOCHS]:
            yield (
                f"note: {state} is of this run with train.epochs: {theirs[EPOCHS]}, and with its "
                "train.schedule and train.resolution every step depends on the number of epochs; "
                "training begins anew"
            )
        elif not any(key.startswith(VALUE) or "/" in key for key in differing):
            faults = ", ".join(f"{k} {short(theirs.get(k))}, not {short(decisive.get(k))}"
                               for k in sorted(differing))  # fmt: skip
            yield (
                f"note: {state} is of these parameters, data and code, but made with {faults}: "
                "its bits would not be this machine's; training begins at step 0"
            )


def short(value: object) -> object:
    return "others" if isinstance(value, dict) else value


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
        # Otherwise the loader's workers would hold it for seconds after the trainer was killed.
        os.register_at_fork(after_in_child=lock.close)
        yield
