"""Make the last run the committed result: its pictures, its log, docs/result.yaml, docs/model.md.

`python -m release.figures` records the default's run, `python -m release.figures demo` the demo's.
Commit the run's dvc.lock and metrics first: docs/result.yaml names that commit, and the tests hold
the docs to it. Pictures are copied: a file can't be an output that DVC caches and in git too.

A release may keep the network of the release before, by `make weights` and `dvc repro`: evaluate
and gradcam alone are of this commit and machine then, and docs/result.yaml tells of both.

`python -m release.figures quick REVISION REVISION…` records runs of the quick recipe that differ in
their seeds, by the names of their experiments; `make verify TRAIN=quick` compares with their mean.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from release.card import model_card, weights_of
from release.log import last_run
from release.machine import in_words, this_machine
from release.result import FILE, read_results, write_results
from release.seeds import read_seeds
from src.data.dataset import REPORTS
from src.device import in_software
from src.pipeline import paths
from src.pipeline.command import run_command
from src.pipeline.files import read_bytes, read_json, write_bytes
from src.pipeline.git import git
from src.pipeline.lock import NOTHING, md5, read_lock
from src.share import pick_device

ROOT = Path(__file__).parents[1]
DOCS_LOG = Path("docs/training.jsonl")
RESULT, MODEL = ROOT / FILE, ROOT / "docs/model.md"
PICTURES = ("lr_find", "training", "confusion", "calibration", "gradcam", "misclassified")
STAGES = ("download", "lr_find", "train", "evaluate", "gradcam")
# A result, as git has it.
FILES = (paths.LOCK, paths.PARAMS, paths.metrics("train").parent)
MADE = "record a run where it was made, or make one by `dvc repro -f`"


def committed(project: Path) -> str:
    """The commit that holds the project's result; the end where it is not committed."""
    if changed := git(project, "status", "--porcelain", "--", *FILES).strip():
        sys.exit(f"error: commit the run first; git says:\n{changed}")
    return git(project, "rev-list", "-1", "HEAD", "--", *FILES).strip()


def read_log(project: Path, log: Path = paths.LOG) -> list[dict[str, Any]]:
    return last_run(read_bytes(project / log, MADE).decode(errors="replace"))


def surroundings(run: list[dict[str, Any]]) -> dict[str, Any]:
    """Time and machine of a run, from its log."""
    start, *epochs = run
    about = {key: value for key, value in start.items() if key not in {"run", "startup_seconds"}}
    seconds = round(sum(row["seconds"] for row in epochs), 1)
    return {"seconds_of_epochs": seconds, **in_words(about)}


def record_seeds(project: Path, revisions: list[str]) -> dict[str, Any]:
    """What docs/result.yaml says of runs of the quick recipe that differ in their seeds.

    The project's last run must be one of them: time and machine are of that one.
    """
    base, seeds = read_seeds(project, revisions)
    run = read_log(project)
    if run[-1].get("val_accuracy") not in {seed["val_accuracy"] for seed in seeds}:
        sys.exit(
            f"error: the last run here is none of {', '.join(revisions)}; record them after it"
        )
    command = "make quick; dvc exp run -n quick-seed-N -S seed=N evaluate"
    return {"commit": base, "command": command, **surroundings(run), "seeds": seeds}


def record(project: Path, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """What docs/result.yaml says of a project's last run.

    before: the result of the release before, whose network is this one's where no training has
    left a log here.
    """
    kept = before if before and not (project / paths.LOG).exists() else None
    log = DOCS_LOG if kept else paths.LOG
    metrics = {stage: read_json(project / paths.metrics(stage), MADE) for stage in STAGES}
    run = read_log(project, log)
    if run[-1].get("train_loss") != metrics["train"]["train_loss"]:
        sys.exit(
            f"error: the last run of {log} is not that of {paths.metrics('train')}; record a run "
            "where it was made and before the next training"
        )
    check_weights(project)
    made = surroundings(run)
    return {
        "commit": committed(project),
        "command": "dvc repro",
        **(evaluated_here(kept, made) if kept else made),
        "weights": weights_of(project / paths.WEIGHTS),
        "metrics": metrics,
    }


def evaluated_here(before: dict[str, Any], trained: dict[str, Any]) -> dict[str, Any]:
    """The machine of evaluate and gradcam, which is this one, and the commit and machine of train.

    before: the result of the release whose network it is; trained: its machine.
    """
    precision = trained["precision"]
    if in_software(precision, pick_device()):
        sys.exit(f"error: this CPU has {precision} in software alone; evaluate on one that has it")
    commit = before.get("trained", before)["commit"]
    return {**this_machine(precision), "trained": {"commit": commit, **trained}}


def check_weights(project: Path) -> None:
    """The end where the network is not that of the run: the model card names its digest."""
    weights = project / paths.WEIGHTS
    recorded = read_lock(project / paths.LOCK).get("train", NOTHING).outs.get(paths.WEIGHTS)
    if not weights.exists() or md5(weights) != recorded:
        fault = "is not what dvc.lock records" if weights.exists() else "is not there"
        sys.exit(f"error: {paths.WEIGHTS}: {fault}; `dvc checkout` brings dvc.lock's")


def check_source(project: Path) -> None:
    """The end where the data are not CIFAR-10: the model card and `make verify` speak of it."""
    report = project / paths.DATA / REPORTS["train"]
    if (source := read_json(report, MADE).get("source")) != "cifar10":
        sys.exit(
            f"error: {report.relative_to(project)}: the data are from {source}; what `make "
            "figures` and `make verify` say holds for CIFAR-10 alone"
        )


def picture_of(name: str) -> Path:
    return paths.PLOTS / f"{name}.png"


def copy_pictures() -> dict[str, str]:
    """Pictures to docs/images; the md5 of each, as in dvc.lock."""
    digests = {}
    for name in PICTURES:
        picture = ROOT / picture_of(name)
        write_bytes(ROOT / "docs/images" / picture.name, read_bytes(picture, MADE))
        digests[picture.name] = md5(picture)
    return digests


def record_run(name: str, before: dict[str, Any]) -> dict[str, Any]:
    """Record the last run of default or demo; the default's pictures, log and card go to docs.

    before: the result of that name in the release before.
    """
    project = ROOT / "demo" if name == "demo" else ROOT
    pictures = map(picture_of, PICTURES)
    if missing := [str(path) for path in pictures if not (project / path).exists()]:
        place = "in demo/" if name == "demo" else "here"
        sys.exit(f"error: {', '.join(missing)}: not there; {MADE} {place}")
    if name == "demo":
        return record(project)
    result = record(project, before)
    check_source(project)
    card = model_card(result, yaml.safe_load((project / paths.PARAMS).read_text()))
    result["pictures"] = copy_pictures()
    if "trained" not in result:
        lines = "".join(json.dumps(row) + "\n" for row in read_log(project))
        write_bytes(ROOT / DOCS_LOG, lines.encode())
    write_bytes(MODEL, card.encode())
    return result


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "default"
    results = read_results(RESULT)
    if name == "quick" and len(sys.argv) >= 4:
        results["quick"] = record_seeds(ROOT, sys.argv[2:])
    elif name in {"default", "demo"}:
        results[name] = record_run(name, results.get(name, {}))
    else:
        sys.exit(f"error: {name}: record the run of default or demo, or two runs of quick or more")
    write_results(RESULT, results)
    print(f"docs/result.yaml: {name} of commit {results[name]['commit'][:7]}")


if __name__ == "__main__":
    run_command(main)
