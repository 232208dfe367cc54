"""The pipeline's stages without DVC: a recipe in a folder of its own, its outputs in a tar."""

import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.gpu_answers import Answers, Values
from recipes.run import merge, read_recipe
from release.log import last_run

ROOT = Path(__file__).parents[1]
STAGES = ("download", "lr_find", "train", "evaluate", "gradcam")
DEFAULT = "default"  # the folder of the default recipe, whose data others borrow
# The same archive gives them anew, byte for byte.
LEFT_BEHIND = ("data/train.bin", "data/test.bin")
PART_BYTES = 15 * 2**20
ERROR_LINES = 12
GRACE = 5  # seconds
# What a CPU does in seconds.
TINY: Values = {
    "data": {"source": "shapes", "shapes": {"train": 200, "test": 40}},
    "lr_find": {"num_iter": 40, "exponential": {"start_lr": 0.0003, "end_lr": 1.0}},
    "train": {
        "lr": 0.01,
        "epochs": 1,
        "batch_size": 32,
        "resolution": [16, 32],
        "label_smoothing": 0.0,
    },
    "gradcam": {"samples": 1, "mistakes": 1, "faithfulness_images": 4},
}


class CutOff(Exception):
    """A question has used its time up."""


class Failed(Exception):
    """A command ended with an error; its last words."""


def finish(command: list[str], folder: Path, deadline: float, log: Path, **env: str) -> str:
    """Run a command to its end; what it printed, which goes to the log as well.

    deadline: of time.monotonic(), when the command and its process group are ended.
    Raises CutOff where they were, Failed where the command ends with an error.
    """
    with open(log, "ab") as output:
        begin = output.tell()
        # A group, not a session: what ends this script from outside ends its commands too.
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | env, process_group=0,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise CutOff from None
        finally:
            if process.poll() is None:
                end_group(process)
    said = log.read_bytes()[begin:].decode(errors="replace")
    if code:
        # A status below 0 is the signal that killed it, of which it could say nothing.
        raise Failed("\n".join([*said.splitlines()[-ERROR_LINES:], f"exit status {code}"]))
    return said


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group; a training has the time to write its state."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    # Others of its group may go on.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Training:
    """Stages of a recipe with some values changed.

    recipe: a name in recipes/, or None for params.yaml as it is; borrowed: the stages whose
    outputs may come from the default recipe's folder.
    """

    folder: str
    recipe: str | None = None
    changes: Values = field(default_factory=dict)
    stages: tuple[str, ...] = STAGES
    borrowed: tuple[str, ...] = ()


def values_of(training: Training, dry: bool) -> Values:
    """The whole params.yaml of a training."""
    values: Values = yaml.safe_load((ROOT / "params.yaml").read_text())
    if training.recipe:
        values = merge(values, read_recipe(training.recipe))
    values = merge(values, training.changes)
    if dry:
        held_out = {"data": {"val_size": min(20, values["data"]["val_size"])}}
        values = merge(merge(values, TINY), held_out)
    return values


def make_project(folder: Path, values: Values) -> None:
    """What the stages need in their working directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    for name in ("src", "stages"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(ROOT / name)


def outputs(stage: str) -> list[str]:
    """The path of each output and metric of a stage."""
    entry = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    both = [*entry["outs"], *entry["metrics"]]
    return [path if isinstance(path, str) else next(iter(path)) for path in both]


def made(folder: Path, stage: str) -> bool:
    return all((folder / path).exists() for path in outputs(stage))


def borrow(source: Path, folder: Path, stage: str) -> None:
    for path in outputs(stage):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / path, folder / path)


def found(folder: Path, stage: str) -> Values:
    """A stage's metrics; of a training also its pace."""
    values: Values = json.loads((folder / f"metrics/{stage}.json").read_text())
    if stage == "train":
        _, *epochs = last_run((folder / "logs/train.jsonl").read_text())
        values["epochs_seconds"] = sum(row["seconds"] for row in epochs)
        values["images_per_second"] = statistics.median(r["images_per_second"] for r in epochs)
        images = images_an_epoch(folder)
        values["steps_seconds"] = sum(images / row["images_per_second"] for row in epochs)
    return values


def images_an_epoch(folder: Path) -> int:
    """How many images a project's epoch trains on: whole batches."""
    values = yaml.safe_load((folder / "params.yaml").read_text())
    data, batch = values["data"], values["train"]["batch_size"]
    there: int = json.loads((folder / "metrics/download.json").read_text())["train_images"]
    images = min(there - data["val_size"], data["train_limit"] or there)
    return images // batch * batch


def pack(folder: Path, to: Path) -> None:
    """All outputs so far and the log of epochs, as a tar in parts `to`.tar.0, `to`.tar.1, …"""
    paths = [path for stage in STAGES for path in outputs(stage) if path not in LEFT_BEHIND]
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for path in [*paths, "logs/train.jsonl"]:
            if (folder / path).exists():
                tar.add(folder / path, path)
    for old in to.parent.glob(f"{to.name}.tar.*"):
        old.unlink()
    content = whole.getvalue()
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        Path(f"{to}.tar.{number}").write_bytes(content[start : start + PART_BYTES])


def unpack(parts: Path, folder: Path) -> None:
    """Put back what an earlier run packed, perhaps on another machine, where nothing is yet."""
    names = sorted(parts.parent.glob(f"{parts.name}.tar.*"))
    if names and not (folder / "metrics").exists():
        whole = io.BytesIO(b"".join(name.read_bytes() for name in names))
        with tarfile.open(fileobj=whole) as tar:
            # Python below 3.11.4 has no filters.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(folder)


@dataclass(frozen=True)
class Sitting:
    """One run of the script. out: what comes back; projects: the stages' folders, which do not."""

    out: Path
    projects: Path
    dry: bool

    @property
    def answers(self) -> Answers:
        return Answers(self.out / "answers.jsonl")

    @property
    def log(self) -> Path:
        return self.out / "log.txt"


def train(training: Training, sitting: Sitting, question: str, deadline: float) -> Values:
    """Run the stages that are still to come; each one's answer is noted as it ends.

    Returns the whole time of the stages and, where it was measured, the test accuracy.
    """
    folder, default = sitting.projects / training.folder, sitting.projects / DEFAULT
    make_project(folder, values_of(training, sitting.dry))
    unpack(sitting.out / training.folder, folder)
    for stage in training.stages:
        name = f"{question}: {stage}"
        if made(folder, stage) and (stage in training.borrowed or sitting.answers.has(name)):
            continue
        if stage in training.borrowed and made(default, stage):
            borrow(default, folder, stage)
            continue
        began = time.monotonic()
        command = [sys.executable, "-u", "-m", f"stages.{stage}"]
        finish(command, folder, deadline, sitting.log)
        seconds = time.monotonic() - began
        sitting.answers.add(name, {"seconds": seconds, **found(folder, stage)})
        if training.stages == STAGES:
            pack(folder, sitting.out / training.folder)
    return summary(sitting.answers, question)


def summary(answers: Answers, question: str) -> Values:
    rows = {r["question"]: r for r in answers.rows() if r["question"].startswith(f"{question}: ")}
    total = {"stages_seconds": sum(row["seconds"] for row in rows.values())}
    tested = rows.get(f"{question}: evaluate", {})
    return {**total, "top1": tested["top1"]} if tested else total
