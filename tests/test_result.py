"""The docs describe the results that docs/result.yaml names, and no others.

A run of your own changes metrics/ and dvc.lock; it fails no test here, committed or not.
"""

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from demo.summary import summary
from release.outputs import OUTPUTS, stored
from src.evaluation.calibration import calibrate
from tests.conftest import PROJECTS, ROOT, run, skip_without

RESULTS = yaml.safe_load((ROOT / "docs/result.yaml").read_text())
DEFAULT = RESULTS["default"]["metrics"]
EPOCHS = {
    row["epoch"]: row
    for line in (ROOT / "docs/training.jsonl").read_text().splitlines()
    if "epoch" in (row := json.loads(line))
}


def error_of(accuracy: float, images: int) -> float:
    """The binomial standard error in percentage points."""
    return 100 * (accuracy * (1 - accuracy) / images) ** 0.5


@pytest.fixture(scope="module", params=PROJECTS)
def project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A result's project as it was committed, without data, and its entry in result.yaml."""
    result = RESULTS[request.param]
    skip_without(result["commit"])
    folder = tmp_path_factory.mktemp(request.param) / "project"
    run(ROOT, "git", "clone", "-q", "--no-checkout", str(ROOT), str(folder))
    run(folder, "git", "checkout", "-q", "--detach", result["commit"])
    return folder / PROJECTS[request.param], result


def test_nothing_had_changed_since_the_run(project: tuple[Path, Any]) -> None:
    """At that commit code, parameters and results belong together."""
    output = run(project[0], "dvc", "repro", "--dry", "--allow-missing").stdout
    assert "Running stage" not in output
    assert "Data and pipelines are up to date" in output or output.count("skipping") == 5


@pytest.mark.parametrize("name", PROJECTS)
def test_a_release_runs_nothing_anew(name: str, tmp_path: Path) -> None:
    """In a clone of the last commit, without data. Between releases code is ahead of results."""
    commit, place = RESULTS[name]["commit"], PROJECTS[name]
    skip_without(commit)
    if "\n## [Unreleased]\n" in run(ROOT, "git", "show", "HEAD:CHANGELOG.md").stdout:
        pytest.skip("CHANGELOG.md has changes that are not released")
    if outs_at(commit, place) != outs_at("HEAD", place):
        pytest.skip("the last commit records a run of your own")
    run(ROOT, "git", "clone", "-q", str(ROOT), str(tmp_path / "clone"))
    said = run(tmp_path / "clone" / place, "dvc", "repro", "--dry", "--allow-missing").stdout
    assert said.count("didn't change, skipping") == 5, "name the change in CHANGELOG.md, Unreleased"


def outs_at(commit: str, place: str) -> dict[str, str]:
    """What the dvc.lock of a commit says of its stages' outputs, by path."""
    return outs_of(run(ROOT / place, "git", "show", f"{commit}:./dvc.lock").stdout)


def outs_of(lock: str) -> dict[str, str]:
    stages = yaml.safe_load(lock)["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def test_metrics_are_those_of_the_commit_and_its_lock(project: tuple[Path, Any]) -> None:
    folder, result = project
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    for stage, metrics in result["metrics"].items():
        content = (folder / f"metrics/{stage}.json").read_bytes()
        assert json.loads(content) == metrics
        (recorded,) = [o for o in lock[stage]["outs"] if o["path"] == f"metrics/{stage}.json"]
        assert hashlib.md5(content).hexdigest() == recorded["md5"]


def test_a_result_says_how_it_was_made() -> None:
    for result in RESULTS.values():
        assert len(result["commit"]) == 40
        assert result["command"]
        trained = result.get("trained", result)
        assert len(trained["commit"]) == 40
        assert trained["seconds_of_epochs"] > 0
        for key in ("hardware", "device", "precision", "python", "torch"):
            assert result[key], key
            assert trained[key], key


def test_pictures_in_the_docs_are_those_of_the_run(project: tuple[Path, Any]) -> None:
    images = {
        path.name: hashlib.md5(path.read_bytes()).hexdigest()
        for path in (ROOT / "docs/images").glob("*.png")
    }
    assert images == RESULTS["default"]["pictures"], "run `make figures`"
    folder, result = project
    outs = outs_of((folder / "dvc.lock").read_text())
    for name, digest in result.get("pictures", {}).items():
        assert outs[f"plots/{name}"] == digest


def test_the_log_in_the_docs_is_that_of_the_run() -> None:
    assert list(EPOCHS) == list(range(1, DEFAULT["train"]["epochs"] + 1))
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert EPOCHS[max(EPOCHS)][name] == DEFAULT["train"][name], f"run `make figures`: {name}"


def test_the_results_keep_their_promise() -> None:
    assert DEFAULT["evaluate"]["top1"] >= 0.85
    assert RESULTS["demo"]["metrics"]["evaluate"]["top1"] >= 0.90


def test_docs_name_the_accuracy_and_its_commit() -> None:
    top1, commit = DEFAULT["evaluate"]["top1"], RESULTS["default"]["commit"]
    for name in ("README.md", "docs/results.md"):
        assert f"{top1:.2%}" in (ROOT / name).read_text(), name
    assert f" {commit[:7]}" in (ROOT / "README.md").read_text()
    # Code, docs and network belong together where a release sets its version, last of all.
    for name in ("README.md", "docs/results.md"):
        command = "git switch --detach $(git log -1 --format=%h -- CITATION.cff)"
        assert command in (ROOT / name).read_text(), name
    error = error_of(top1, DEFAULT["download"]["test_images"])
    assert f"**{top1:.2%}** ± {error:.2f}" in (ROOT / "README.md").read_text()


def of_the_run() -> str:
    """What docs/results.md says of the committed result alone."""
    text = (ROOT / "docs/results.md").read_text()
    return text.split("\n### The committed result\n")[1].split("\n##")[0]


def test_the_results_page_has_the_figures_of_the_run() -> None:
    text, test, val = of_the_run(), DEFAULT["evaluate"], DEFAULT["train"]["val_accuracy"]
    error = error_of(test["top1"], DEFAULT["download"]["test_images"])
    assert f"| test accuracy | **{test['top1']:.2%}** ± {error:.2f}, one seed" in text
    (said,) = re.findall(r"\| validation accuracy \| (.+), on ([\d,]+) images \|", text)
    images = int(said[1].replace(",", ""))
    assert (val * images).is_integer()
    assert said[0] == f"{val:.2%} ± {error_of(val, images):.2f}"
    assert f"| test loss | {test['loss']:.3f} |" in text
    errors = f"{test['ece']:.1%}; {test['ece_calibrated']:.1%} after temperature scaling"
    assert f"| calibration error | {errors} |" in text
    assert f"| commit | {RESULTS['default']['commit'][:7]}, " in text


def test_the_results_page_has_the_epochs_of_the_run() -> None:
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| (.*) \|$", of_the_run(), re.MULTILINE)
    assert rows
    for epoch, rate, cells in rows:
        row = EPOCHS[int(epoch)]
        assert float(rate) == pytest.approx(row["lr"], rel=0.02)
        shown = f"{row['train_accuracy']:.1%} | {row['val_accuracy']:.1%} | "
        assert cells == shown + f"{row['seconds']:.0f} | {row['images_per_second']:.0f}"
    falls = [str(e) for e in EPOCHS if e + 1 in EPOCHS and EPOCHS[e + 1]["lr"] < EPOCHS[e]["lr"]]
    assert in_words(falls) in of_the_run()


def in_words(falls: list[str]) -> str:
    """What the page says of the epochs after which the rate fell."""
    if not falls:
        return "The rate never fell."
    if len(falls) == 1:
        return f"The rate fell after epoch {falls[0]}."
    return f"The rate fell after epochs {', '.join(falls[:-1])} and {falls[-1]}."


def published(path: str) -> Path:
    """A file of the published run."""
    if not (files := stored(ROOT / OUTPUTS)):
        pytest.skip("no run is published")
    commit = RESULTS["default"]["commit"]
    skip_without(commit)
    return files[outs_at(commit, PROJECTS["default"])[path]]


def test_the_docs_say_how_many_are_right_at_a_level() -> None:
    """After temperature scaling, which one bin of the diagram must confirm."""
    logits = load_file(published("data/test_logits.safetensors"))["logits"]
    with published("plots/confusion.csv").open(newline="") as file:
        right = [row["actual"] == row["predicted"] for row in csv.DictReader(file)]
    probabilities = (logits.double() / DEFAULT["evaluate"]["temperature"]).softmax(1)
    bins = calibrate(probabilities.amax(1).numpy(), np.array(right, dtype=float)).bins
    levels = {(f"{confidence:.0%}", f"{accuracy:.0%}") for confidence, accuracy, images in bins}
    for name in ("docs/overview.md", "docs/yours.md"):
        text = (ROOT / name).read_text()
        (said,) = re.findall(r"images that get about (\d+%), (\d+%) are right", text)
        assert said in levels, name


def test_the_demo_s_accuracy_is_in_the_table() -> None:
    metrics = RESULTS["demo"]["metrics"]
    top1, images = metrics["evaluate"]["top1"], metrics["download"]["test_images"]
    error = error_of(top1, images)
    commit = RESULTS["demo"]["commit"][:7]
    rows = (ROOT / "docs/results.md").read_text().splitlines()
    (row,) = [row for row in rows if row.startswith(f"| demo, {images} drawn test images")]
    assert f"| {top1:.1%} ± {error:.1f} |" in row
    assert f"| {commit}," in row


def test_the_overview_names_what_was_measured() -> None:
    text = (ROOT / "docs/overview.md").read_text()
    assert f"temperature is {DEFAULT['evaluate']['temperature']:.2f}" in text


def test_the_overview_has_the_leads_over_all_controls() -> None:
    """As the mean over the four curves, and in each direction as the mean over both fills."""
    with published("plots/faithfulness.csv").open(newline="") as file:
        leads = list(csv.DictReader(file))
    text = (ROOT / "docs/overview.md").read_text()
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        rows = [row for row in leads if row["layer"] == layer]
        assert [row["control"] for row in rows] == ["same class", "blobs", "pixels", "edges"]
        means = [f"{float(row['lead']):.2f} ± {float(row['error']):.2f}" for row in rows]
        apart = [f"{of(row, 'deletion'):.2f}, {of(row, 'insertion'):.2f}" for row in rows]
        for cells in (means, apart):
            assert f"| {layer} | {' | '.join(cells).replace('-', '−')} |" in text


def of(row: dict[str, str], way: str) -> float:
    """A lead in one direction, as the mean over both fills."""
    return (float(row[f"blur_{way}"]) + float(row[f"linear_{way}"])) / 2


def test_the_demo_says_what_could_not_be_measured() -> None:
    metrics = RESULTS["demo"]["metrics"] | {"lr_find": {}, "gradcam": {}}
    said = summary(metrics)
    assert "The range test gave no rate; training peaked at 0.01.\n\n" in said
    assert "Grad-CAM's maps" not in said


def test_the_demo_says_where_a_control_does_better_than_the_maps() -> None:
    metrics = RESULTS["demo"]["metrics"] | {"gradcam": {"layer4": -0.25, "layer4_error": 0.1}}
    assert "at layer4 are behind the best of four controls by 0.25 ± 0.10\n" in summary(metrics)


def test_the_docs_show_what_the_demo_says() -> None:
    text = (ROOT / "docs/running.md").read_text()
    lines = summary(RESULTS["demo"]["metrics"]).partition("\n\n")[0].splitlines()
    assert lines[0].startswith("Test accuracy ")
    for line in lines:
        assert line in text
