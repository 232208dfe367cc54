"""The diffs in CONTRIBUTING.md apply to the code as it is, and the pipeline runs with them."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, make_project, run, tiny_values

DIFFS = dict(
    re.findall(
        r"### (A[\w ]+)\n.*?```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL
    )
)


def apply(name: str, folder: Path, *options: str) -> None:
    """Apply a diff, unless a reader who follows the page has applied it already."""

    def git(*more: str) -> "subprocess.CompletedProcess[str]":
        command = ["git", "apply", *options, *more, "-"]
        return subprocess.run(
            command, cwd=folder, input=DIFFS[name], text=True, capture_output=True, check=False
        )

    done = git()
    assert not done.returncode or not git("--reverse", "--check").returncode, done.stderr


def test_there_is_one_for_each_kind() -> None:
    assert set(DIFFS) == {"A network", "A schedule", "A data set", "A metric", "A figure"}


@pytest.mark.parametrize("name", DIFFS)
def test_a_diff_applies_and_touches_at_most_three_files(name: str) -> None:
    assert 1 <= DIFFS[name].count("diff --git") <= 3
    apply(name, ROOT, "--check")


@pytest.mark.slow
def test_the_pipeline_runs_with_all_of_them(tmp_path: Path) -> None:
    """It runs on a tiny sample through `dvc exp run`, as the page says; ruff accepts the code."""
    folder = make_project(tmp_path / "project", tiny_values())
    for name in DIFFS:
        apply(name, folder)
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "all of them")
    flags = ["model.arch=resnet10", "train.schedule=linear", "data.source=gratings"]
    run(folder, "dvc", "exp", "run", *(word for flag in flags for word in ("-S", flag)))
    metrics = json.loads((folder / "metrics/evaluate.json").read_text())
    assert metrics["top2"] == 1
    assert (folder / "plots/confidence.png").stat().st_size > 0
    assert (folder / "data/classes.txt").read_text() == "horizontal\nvertical\n"
    assert "BasicBlock" in (folder / "plots/model.txt").read_text()
    rates = [
        float(row.split(",")[1]) for row in (folder / "plots/training.csv").read_text().split()[1:]
    ]
    assert rates == pytest.approx([0.01, 0], abs=1e-9)
    for command in (
        ["ruff", "check", "src", "stages"],
        ["ruff", "format", "--check", "src", "stages"],
    ):
        run(folder, *command, "--config", str(ROOT / "pyproject.toml"))
