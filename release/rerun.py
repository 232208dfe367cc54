"""The published result computed anew, in a clone of its own, and laid beside what was published.

`make verify` judges the differences, `make rounding` measures them.
"""

import math
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from release.machine import this_machine
from release.outputs import command, missing, outs_of, pull
from src.data.dataset import read_classes
from src.network.weights import load_model, save_weights
from src.pipeline import paths
from src.pipeline.errors import InputError
from src.pipeline.files import read_json
from src.pipeline.git import commit_at, git

SET = re.compile(r"[a-z][a-z0-9_]*")  # an instruction set, as torch names it
Metrics = dict[str, dict[str, Any]]


class Row(NamedTuple):
    """A metric of a stage as published and as computed here; NaN where one side lacks it."""

    stage: str
    metric: str
    published: float
    here: float

    @property
    def name(self) -> str:
        return f"{self.stage}.{self.metric}"

    @property
    def moved(self) -> float:
        return abs(self.here - self.published)


@contextmanager
def clone(root: Path, commit: str) -> Iterator[Path]:
    """The project as it was at a commit, in a temporary folder."""
    with ended_by_signals(), temporary_folder() as folder:
        project = Path(folder) / "project"
        # Whatever keeps git from this copy altogether, it says itself.
        git(root, "rev-parse", "--git-dir")
        if not commit_at(root, commit):
            sys.exit(
                f"error: this copy lacks commit {commit[:7]}; `git fetch --unshallow` gets it in a "
                "shallow clone, and in others clone the project itself"
            )
        command(root, "git", "clone", "--quiet", "--no-checkout", str(root), str(project))
        command(project, "git", "checkout", "--quiet", "--detach", commit)
        yield project


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory()
    except OSError as error:
        raise InputError(
            f"no temporary folder can be made ({error.strerror}); set TMPDIR to a folder of yours "
            "with a gigabyte free"
        ) from error


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and a closed terminal end the process as Ctrl-C does.

    So temporary folders go, and so does a stage that runs.
    """

    def end(number: int, _: FrameType | None) -> None:
        # A second one must not end the tidying up.
        for each in heeded:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    heeded = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
    before = {each: signal.signal(each, end) for each in heeded}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def take_outputs(project: Path, folder: Path) -> None:
    """Pull what `folder` publishes; at its own commit a result is not published yet."""
    if missing(project, folder):
        sys.exit(
            f"error: {folder}: has not the outputs of the run that docs/result.yaml names; `make "
            "release-outputs` puts them there where it was made"
        )
    words = ("remote", "add", "--quiet", "--local", "--force", "release", str(folder.resolve()))
    command(project, "dvc", *words)
    pull(project, folder)


def run_stage(project: Path, stage: str, how: Sequence[str] = ("-m",)) -> dict[str, Any]:
    """Run a stage of the project's own code; its metrics. how: Python's option for a module."""
    print(f"\n{stage}:", flush=True)
    # What is compared must be what this run wrote, not what was published.
    for name in (str(paths.metrics(stage)), *outs_of(project)[stage]):
        (project / name).unlink(missing_ok=True)
    command(project, sys.executable, "-u", *how, f"stages.{stage}")
    return read_json(project / paths.metrics(stage), "the stage must write it")


def compute_in(precision: str, project: Path) -> None:
    """Let the project's network be evaluated in another precision than it was trained in."""
    weights = project / paths.WEIGHTS
    model, about = load_model(weights, len(read_classes(project / paths.DATA)))
    save_weights(weights, model, {**about, "precision": precision})


def differing_machine(result: dict[str, Any], precision: str) -> list[str]:
    """In which respects that decide the last bits this machine is not the published one.

    precision: in which it computes the network.
    """
    here = this_machine(precision)
    other = {name: value for name, value in result.items() if here.get(name, value) != value}
    return [difference(name, here[name], value) for name, value in other.items()]


def difference(name: str, here: Any, published: Any) -> str:
    if name == "capabilities":
        mine, theirs = set(here.split()), set(published.split())
        # Names and sizes are not instruction sets, but are told where nothing else differs.
        sets = {word for word in mine ^ theirs if SET.fullmatch(word)}
        lacks, has = sorted(sets & theirs), sorted(sets & mine)
        said = [f"lacks {', '.join(lacks)}"] if lacks else []
        said += [f"has {', '.join(has)}"] if has else []
        return f"the CPU {' and '.join(said) or f'has {here} for {published}'}"
    return f"{name} {here} for {published}"


def compare(published: Metrics, here: Metrics) -> list[Row]:
    """A row for each metric of the stages that ran."""
    return [
        Row(stage, name, published[stage].get(name, math.nan), here[stage].get(name, math.nan))
        for stage in here
        for name in sorted(published[stage].keys() | here[stage].keys())
    ]
