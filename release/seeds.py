"""Runs of the quick recipe that differ in their seeds, as DVC's experiments have them."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from recipes.run import merge
from src.pipeline import paths
from src.pipeline.git import commit_of, git
from src.pipeline.lock import Recorded, parse_lock

RECIPE = Path("recipes/quick.yaml")


class Run(NamedTuple):
    """An experiment: its name, its commit, and the commit whose code it ran."""

    name: str
    commit: str
    base: str


def read_seeds(project: Path, names: list[str]) -> tuple[str, list[dict[str, Any]]]:
    """The commit whose code all of them ran, and for each its seed and what it reached.

    names: of experiments, or revisions of git. The end where one is not a run of the recipe, from
    its training to its evaluation, or where they do not differ in their seeds.
    """
    # An experiment stands on the commit whose code it ran.
    commits = [(name, commit_of(project, name)) for name in names]
    runs = [Run(name, commit, commit_of(project, f"{commit}~1")) for name, commit in commits]
    seeds = [read_seed(project, run) for run in runs]
    if len({seed["seed"] for seed in seeds}) < len(seeds) or len({run.base for run in runs}) > 1:
        sys.exit("error: these are not runs of one commit that differ in their seeds")
    for run in runs:
        check_run(project, run)
    return runs[0].base, seeds


def shown(project: Path, commit: str, path: Path) -> str:
    """A file as it was at a commit."""
    return git(project, "show", f"{commit}:{path}")


def read_seed(project: Path, run: Run) -> dict[str, Any]:
    params = yaml.safe_load(shown(project, run.commit, paths.PARAMS))
    test, train = (
        json.loads(shown(project, run.commit, paths.metrics(stage)))
        for stage in ("evaluate", "train")
    )
    return {"seed": params["seed"], "top1": test["top1"], "val_accuracy": train["val_accuracy"]}


def check_run(project: Path, run: Run) -> None:
    """The end where code, parameters or metrics are not those of one run of the recipe."""
    recipe = merge(
        yaml.safe_load(shown(project, run.base, paths.PARAMS)),
        yaml.safe_load(shown(project, run.base, RECIPE)),
    )
    params = yaml.safe_load(shown(project, run.commit, paths.PARAMS))
    edited = ("diff", "--name-only", run.base, run.commit, "--", "src", "stages", paths.PIPELINE)
    if code := git(project, *edited).split():
        sys.exit(f"error: {run.name}: ran with {code[0]} edited; commit it, then run anew")
    if {**params, "seed": 0} != {**recipe, "seed": 0}:
        sys.exit(f"error: {run.name}: its parameters are not those of {RECIPE}")
    lock = parse_lock(shown(project, run.commit, paths.LOCK).encode(), f"{run.name}: dvc.lock")
    trained, tested = lock["train"], lock["evaluate"]
    if tested.deps.get(paths.WEIGHTS) != trained.outs.get(paths.WEIGHTS):
        sys.exit(
            f"error: {run.name}: trained another network than it evaluated; `dvc exp run -n NAME "
            "-S seed=N evaluate` does both"
        )
    for stage, recorded in (("train", trained), ("evaluate", tested)):
        check_metrics(project, run, stage, recorded)


def check_metrics(project: Path, run: Run, stage: str, recorded: Recorded) -> None:
    path = paths.metrics(stage)
    content = shown(project, run.commit, path).encode()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != recorded.outs.get(path):
        sys.exit(f"error: {run.name}: {path} is not what its dvc.lock records")
