"""The diffs in the docs apply to the code as it is, and the pipeline runs with them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml
from PIL import Image

from src.sources.shapes import draw
from tests.conftest import ROOT, committed_params, make_project, published_params, run, tiny_values


def diffs(page: str) -> dict[str, str]:
    """The diff of each section that has one, by its heading."""
    found = {}
    for section in re.split(r"^##+ ", (ROOT / page).read_text(), flags=re.MULTILINE):
        for diff in re.findall(r"```diff\n(.*?)```", section, re.DOTALL):
            found[section.splitlines()[0]] = diff
    return found


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
YOURS = diffs("docs/yours.md")
DIFFS = diffs("CONTRIBUTING.md") | YOURS
PICTURES = "Your pictures"
CODE = [name for name in DIFFS if name != PICTURES]
BIRDS = ["Türkentaube", "house sparrow", "tit"]  # sorted by character


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
    assert set(YOURS) == {PICTURES, "Another network", "Another schedule", "Another metric"}
    assert set(DIFFS) - set(YOURS) == {"A data set", "A figure"}


@pytest.mark.parametrize("name", CODE)
def test_a_diff_applies_and_touches_at_most_three_files(name: str) -> None:
    assert 1 <= DIFFS[name].count("diff --git") <= 3
    apply(name, ROOT, "--check")


@pytest.mark.parametrize("name", YOURS)
def test_a_diff_of_yours_changes_at_most_30_lines(name: str) -> None:
    lines = DIFFS[name].splitlines()
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert 1 <= len([line for line in changed if line[1:].strip()]) <= 30


def with_your_pictures(folder: Path) -> dict[str, Any]:
    """The values that the committed params.yaml has with the diff of your pictures."""
    if yaml.safe_load(committed_params())["data"] != published_params()["data"]:
        pytest.skip("params.yaml has data of your own, to which the page's diff does not apply")
    folder.mkdir()
    (folder / "params.yaml").write_text(committed_params())
    run(folder, "git", "init", "-q")
    apply(PICTURES, folder)
    values: dict[str, Any] = yaml.safe_load((folder / "params.yaml").read_text())
    return values


def test_the_diff_of_your_pictures_changes_the_data_alone(tmp_path: Path) -> None:
    values, before = with_your_pictures(tmp_path / "x"), yaml.safe_load(committed_params())
    changed = {key for key in values["data"] if values["data"][key] != before["data"][key]}
    assert changed == {"source", "folder", "unreadable", "val_size"}
    assert values | {"data": None} == before | {"data": None}


def take_pictures(folder: Path) -> None:
    """240 pictures of three classes, of several sizes and formats, and a file that is none."""
    images, labels, _ = draw(800, 7)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        if label < 3:
            large = cv2.resize(image, (40 + i % 50, 64))
            path = folder / BIRDS[label] / f"{i}.{('png', 'jpg', 'webp')[i % 3]}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(large).save(path)
    (folder / BIRDS[0] / "list.txt").write_text("no picture")


@pytest.mark.slow
def test_the_pipeline_runs_with_all_of_them(tmp_path: Path) -> None:
    """On your pictures, through `dvc exp run`, as the pages say; ruff accepts the code."""
    added = re.findall(r"^\+(  .*)$", DIFFS[PICTURES], re.MULTILINE)
    data = yaml.safe_load("\n".join(added))
    assert data.keys() == {"source", "folder", "unreadable", "val_size"}
    values = tiny_values()
    values["data"] |= data
    folder = make_project(tmp_path / "project", values)
    take_pictures(folder / "birds")
    for name in CODE:
        apply(name, folder)
    run(folder, "git", "add", "src", "stages", "dvc.yaml")
    run(folder, "git", "commit", "-qm", "all of them")
    flags = ["model.arch=convnext", "train.schedule=linear"]
    run(folder, "dvc", "exp", "run", *(word for flag in flags for word in ("-S", flag)))
    check_results(folder)
    check_dvc_notices(folder)
    (held_out,) = re.findall(r"`dvc exp run -S data\.source=gratings -S (.*?)`", CONTRIBUTING)
    assert (
        int(held_out.removeprefix("data.val_size=")) < published_params()["data"]["shapes"]["train"]
    )
    run(folder, "dvc", "exp", "run", "-S", "data.source=gratings", "download")
    assert (folder / "data/classes.txt").read_text() == "horizontal\nvertical\n"
    check_tests(folder)
    for command in (
        ["ruff", "check", "src", "stages"],
        ["ruff", "format", "--check", "src", "stages"],
    ):
        run(folder, *command, "--config", str(ROOT / "pyproject.toml"))


def check_tests(folder: Path) -> None:
    """The tests of what was changed pass with the change."""
    for name in ("tests", "recipes", "docs", "demo"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns(".dvc", "__pycache__"))  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", folder)
    files = ["sources/test_table.py", "network/test_resnet.py", "network/test_blocks.py"]
    files += ["evaluation/test_metrics.py", "training/test_schedule.py"]
    paths = [f"tests/{name}" for name in files]
    run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *paths)


def check_results(folder: Path) -> None:
    metrics = json.loads((folder / "metrics/evaluate.json").read_text())
    assert metrics["top1"] <= metrics["top2"] <= 1
    counts = json.loads((folder / "metrics/download.json").read_text())
    assert sum(counts.values()) == 240
    assert (folder / "plots/confidence.png").stat().st_size > 0
    assert (folder / "data/classes.txt").read_text().splitlines() == BIRDS
    rows = (folder / "plots/classes.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[0] for row in rows) == BIRDS
    assert "CNBlock" in (folder / "plots/model.txt").read_text()
    rates = [
        float(row.split(",")[1]) for row in (folder / "plots/training.csv").read_text().split()[1:]
    ]
    assert rates == pytest.approx([0.01, 0], abs=1e-9)


def check_dvc_notices(folder: Path) -> None:
    """A picture that comes or goes; one in a folder that data.folder no longer names is nothing."""
    assert "birds" not in run(folder, "dvc", "status").stdout
    new = folder / "birds" / BIRDS[1] / "new.png"
    Image.fromarray(draw(1, 9)[0][0]).save(new)
    assert re.search(r"modified: +birds", run(folder, "dvc", "status").stdout)
    new.unlink()
    assert "birds" not in run(folder, "dvc", "status").stdout
