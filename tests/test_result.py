"""The result in the repository is the result of the code in the repository."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, run


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a stranger clones: the files that git has, and no data.

    So a run of your own fails nothing here before you commit its result.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is nothing to clone")
    folder = tmp_path_factory.mktemp("checkout") / "project"
    run(ROOT, "git", "clone", "-q", str(ROOT), str(folder))
    return folder


@pytest.mark.parametrize("place", [".", "demo"])
def test_nothing_has_changed_since_the_run(place: str, checkout: Path) -> None:
    output = run(checkout / place, "dvc", "repro", "--dry", "--allow-missing").stdout
    assert "Running stage" not in output
    assert "Data and pipelines are up to date" in output or output.count("skipping") == 5


@pytest.mark.parametrize("place", [".", "demo"])
def test_metrics_are_those_of_the_lock(place: str, checkout: Path) -> None:
    lock = yaml.safe_load((checkout / place / "dvc.lock").read_text())["stages"]
    for name, stage in lock.items():
        (recorded,) = [out for out in stage["outs"] if out["path"] == f"metrics/{name}.json"]
        content = (checkout / place / recorded["path"]).read_bytes()
        assert hashlib.md5(content).hexdigest() == recorded["md5"]


def test_pictures_in_the_docs_are_those_of_the_run(checkout: Path) -> None:
    lock = yaml.safe_load((checkout / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    images = sorted((checkout / "docs/images").glob("*.png"))
    assert images
    for path in images:
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        assert digest == outs[f"plots/{path.name}"], f"run `make figures`: {path.name}"


def test_the_log_in_the_docs_is_that_of_the_run(checkout: Path) -> None:
    *_, last = (checkout / "docs/training.jsonl").read_text().splitlines()
    row = json.loads(last)
    metrics = json.loads((checkout / "metrics/train.json").read_text())
    assert row["epoch"] == metrics["epochs"]
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert row[name] == metrics[name], f"run `make figures`: {name}"


def test_the_result_keeps_its_promise(checkout: Path) -> None:
    evaluation = json.loads((checkout / "metrics/evaluate.json").read_text())
    assert evaluation["top1"] >= 0.85
    demo = json.loads((checkout / "demo/metrics/evaluate.json").read_text())
    assert demo["top1"] >= 0.90


def test_docs_name_the_accuracy_of_the_run(checkout: Path) -> None:
    top1 = json.loads((checkout / "metrics/evaluate.json").read_text())["top1"]
    for name in ("README.md", "docs/recipes.md"):
        assert f"{top1:.2%}" in (checkout / name).read_text(), name


def test_the_overview_names_what_was_measured(checkout: Path) -> None:
    text = (checkout / "docs/overview.md").read_text()
    evaluation = json.loads((checkout / "metrics/evaluate.json").read_text())
    assert f"temperature is {evaluation['temperature']:.2f}" in text
    drops = json.loads((checkout / "metrics/gradcam.json").read_text())
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        drop, other = drops[f"{layer}_drop"], drops[f"{layer}_drop_other_map"]
        assert f"{layer} {drop:.3f} beside {other:.3f}" in text


def test_the_readme_shows_what_the_demo_says(checkout: Path) -> None:
    said = run(checkout, sys.executable, "demo/summary.py").stdout
    text = (checkout / "README.md").read_text()
    lines = said.strip().splitlines()
    assert lines[0].startswith("Test accuracy ")
    for line in lines:
        assert line in text


def test_there_are_no_open_ends_in_the_docs() -> None:
    for path in [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").glob("*.md")]:
        assert "<<" not in path.read_text(), path.name
