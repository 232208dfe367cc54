"""What `make figures` records is what ran; docs/model.md says it and nothing else."""

import hashlib
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from release import figures, machine
from release.card import model_card
from release.figures import MODEL, RESULT, committed, record, record_seeds
from release.log import last_run
from release.outputs import OUTPUTS, stored
from release.result import read_results
from src.pipeline.errors import InputError
from tests.conftest import ROOT, published_params, run, write_params

RESULTS = yaml.safe_load(RESULT.read_text())


def test_the_card_holds_the_figures_of_the_run(done: Path) -> None:
    result = record(done)
    params = yaml.safe_load((done / "params.yaml").read_text())
    text = model_card(result, params)
    weights = (done / "models/model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in text
    assert f"{len(weights):,} bytes" in text
    for stage in ("evaluate", "gradcam"):
        for name, value in result["metrics"][stage].items():
            assert f"| {name} | {value:.4f} |" in text
    assert "2 epochs, batch 32, SGD with Nesterov momentum 0.95" in text
    assert "The rate is 0.02." in text
    assert "schedule plateau" in text
    assert "The weights are those of the last step. The images have 16, 32 pixels a side" in text
    low, high = map(float, re.findall(r"interval is ([\d.]+)% to ([\d.]+)%", text)[0])
    assert low < 100 * result["metrics"]["evaluate"]["top1"] < high


def test_the_card_of_another_recipe_says_what_that_did(done: Path) -> None:
    """As of `best`: nothing held out, so no temperature; images mixed. And of part of the data."""
    result = record(done)
    # Whether so small a network gets a temperature depends on the CPU's rounding.
    evaluate = result["metrics"]["evaluate"] | {"temperature": 0.7, "ece_calibrated": 0.02}
    result["metrics"]["evaluate"] = evaluate
    params = yaml.safe_load((done / "params.yaml").read_text())
    usual = model_card(result, params)
    assert "Choices were made on those; evaluate and gradcam alone read" in usual
    assert "Divide the logits by `temperature`" in usual
    assert not re.search(r"None is held|Training took|mixed|No temperature", usual)
    images = result["metrics"]["download"]["train_images"]
    params["data"] |= {"val_size": 0, "train_limit": images - 1}
    params["train"]["mix"] = {"kind": "cutmix", "alpha": 0.2}
    del evaluate["temperature"], evaluate["ece_calibrated"]
    text = model_card(result, params)
    assert f"Training took {images - 1:,} of the images. None is held out for validation" in text
    assert "Images are mixed by cutmix (alpha 0.2). Seed" in text
    assert "No temperature was fitted, because no image was held out" in text
    assert not re.search(r"Choices were made|Divide the logits", text)
    # A limit that leaves nothing out is none.
    params["data"]["train_limit"] = images
    assert "Training took" not in model_card(result, params)
    params["data"]["val_size"] = 10
    assert "Training took" not in model_card(result, params)
    params["data"]["train_limit"] = images - 11
    assert f"Training took {images - 11:,} of the others. Choices" in model_card(result, params)


def test_the_interval_is_wilsons(done: Path) -> None:
    """Of 9,362 of 10,000: 93.12% to 94.08%, by Wilson's formula (1927) worked by hand."""
    result = record(done)
    result["metrics"]["evaluate"]["top1"] = 0.9362
    result["metrics"]["download"]["test_images"] = 10000
    params = yaml.safe_load((done / "params.yaml").read_text())
    params["train"]["lr"] = "slide"
    z, n, p = 1.959964, 10000, 0.9362
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    text = model_card(result, params)
    assert f"{centre - half:.2%} to {centre + half:.2%}" in text
    assert "93.12% to 94.08%" in text
    assert "The rate is 0.02, the range test's `slide`." in text


def test_the_committed_card_is_that_of_the_result() -> None:
    """A result from before there was a card has no digest of its weights, and no card."""
    result = RESULTS["default"]
    assert MODEL.exists() == ("weights" in result), "run `make figures`"
    if MODEL.exists():
        assert MODEL.read_text() == model_card(result, published_params())


def test_a_published_result_says_what_verify_allows_for() -> None:
    """And its card names the digest of the weights that are published."""
    result = RESULTS["default"]
    files = stored(ROOT / OUTPUTS)
    assert bool(files) == ("rounding" in result), "run `make release-outputs` and `make rounding`"
    if files:
        assert result["rounding"]["evaluate"] > 0
        md5 = result["weights"]["md5"]
        weights = files[md5].read_bytes()
        assert hashlib.sha256(weights).hexdigest() == result["weights"]["sha256"]


def test_the_mean_of_the_seeds_is_in_the_docs() -> None:
    seeds = [seed["top1"] for seed in RESULTS.get("quick", {}).get("seeds", [])]
    if not seeds:
        pytest.skip("docs/result.yaml has no seeds of quick")
    mean, deviation = statistics.mean(seeds), 100 * statistics.stdev(seeds)
    assert f"**{mean:.2%}** ({deviation:.2f})" in (ROOT / "docs/results.md").read_text()
    readme = (ROOT / "README.md").read_text()
    assert f"{mean:.2%} ±" in readme
    assert f"standard deviation {deviation:.2f}" in readme


def test_seeds_are_recorded_by_the_names_of_their_experiments(clone: Path) -> None:
    commit_recipe(clone)
    first = experiment(clone, "quick", 0, 0.5)
    other = experiment(clone, "quick-seed-7", 7, 0.6)
    found = record_seeds(clone, ["quick-seed-7", first])
    assert [(seed["seed"], seed["top1"]) for seed in found["seeds"]] == [(7, 0.6), (0, 0.5)]
    assert found["commit"] == run(clone, "git", "rev-parse", f"{other}~1").stdout.strip()
    assert found["seconds_of_epochs"] > 0
    with pytest.raises(InputError, match="quick-8: no such experiment"):
        record_seeds(clone, ["quick-8", first])
    with pytest.raises(SystemExit, match="not runs of one commit that differ in their seeds"):
        record_seeds(clone, ["quick", first])
    with pytest.raises(SystemExit, match="not runs of one commit"):
        record_seeds(clone, ["quick", f"{first}~1"])
    run(clone, "git", "update-ref", "refs/exps/cd/ef01/quick", other)
    with pytest.raises(InputError, match="quick: 2 experiments have this name; `dvc exp list -A`"):
        record_seeds(clone, ["quick", other])
    rewrite(clone, "train", {"val_accuracy": 0.123})
    run(clone, "git", "commit", "-qam", "another machine's run")
    others = [experiment(clone, f"other-{seed}", seed, 0.5) for seed in (1, 2)]
    with pytest.raises(SystemExit, match=f"the last run here is none of {', '.join(others)}"):
        record_seeds(clone, others)


def test_seeds_are_whole_runs_of_the_recipe(clone: Path) -> None:
    """An experiment of train alone, say, has the accuracy of the run before it."""
    commit_recipe(clone)
    experiment(clone, "quick", 0, 0.5)
    lock, metrics = clone / "dvc.lock", clone / "metrics/evaluate.json"
    recorded = yaml.safe_load(lock.read_text())["stages"]["train"]["outs"]
    (weights,) = [out["md5"] for out in recorded if out["path"].endswith(".safetensors")]
    changes = {
        "trained another network than it evaluated; `dvc exp run": lambda: lock.write_text(
            lock.read_text().replace(weights, 32 * "f", 1)
        ),
        r"metrics/evaluate\.json is not what its dvc\.lock records": lambda: metrics.write_text(
            '{"top1": 0.9}'
        ),
        r"ran with src/__init__\.py edited; commit it": lambda: (
            clone / "src/__init__.py"
        ).write_text("# edited"),
        r"its parameters are not those of recipes/quick\.yaml": lambda: write_params(
            clone, params_of(clone) | {"gradcam": {}}
        ),
    }
    for number, (said, change) in enumerate(changes.items(), 1):
        experiment(clone, f"seed-{number}", number, 0.5, change)
        with pytest.raises(SystemExit, match=f"^error: seed-{number}: {said}"):
            record_seeds(clone, ["quick", f"seed-{number}"])


def commit_recipe(project: Path) -> None:
    """A recipe that says what the project's params.yaml says."""
    (project / "recipes").mkdir()
    recipe = {"train": {"epochs": params_of(project)["train"]["epochs"]}}
    (project / "recipes/quick.yaml").write_text(yaml.safe_dump(recipe))
    run(project, "git", "add", "recipes")
    run(project, "git", "commit", "-qm", "recipe")


def params_of(project: Path) -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((project / "params.yaml").read_text())
    return params


def rewrite(project: Path, stage: str, changes: dict[str, float]) -> None:
    """Give a stage other metrics, as if it had written them: dvc.lock records their digest."""
    path, lock = project / f"metrics/{stage}.json", project / "dvc.lock"
    before = hashlib.md5(path.read_bytes()).hexdigest()
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    after = hashlib.md5(path.read_bytes()).hexdigest()
    lock.write_text(lock.read_text().replace(before, after))


def experiment(
    project: Path, name: str, seed: int, top1: float, change: Callable[[], object] | None = None
) -> str:
    """A commit on the last one, as DVC makes one for an experiment; its hash.

    change: what else is different in it.
    """
    head = run(project, "git", "rev-parse", "HEAD").stdout.strip()
    write_params(project, params_of(project) | {"seed": seed})
    rewrite(project, "evaluate", {"top1": top1})
    if change:
        change()
    run(project, "git", "commit", "-qam", name)
    commit = run(project, "git", "rev-parse", "HEAD").stdout.strip()
    run(project, "git", "update-ref", f"refs/exps/ab/cdef/{name}", commit)
    run(project, "git", "reset", "--quiet", "--hard", head)
    return commit


def test_only_a_whole_run_is_recorded(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/model.md says of the weights and of the data must hold."""
    monkeypatch.setattr(figures, "ROOT", own)
    with pytest.raises(SystemExit, match=r"data/train\.json: the data are from shapes; what `make"):
        figures.record_run("default", {})
    weights = own / "models/model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    with pytest.raises(SystemExit, match=r"model\.safetensors: is not there; `dvc check"):
        figures.record_run("default", {})
    weights.write_bytes(whole + b"\0")
    with pytest.raises(SystemExit, match=r"model\.safetensors: is not what dvc\.lock records"):
        figures.record_run("default", {})
    weights.write_bytes(whole)
    (own / "metrics/train.json").write_text("{}")
    with pytest.raises(SystemExit, match="error: commit the run first; git says:"):
        committed(own)
    (own / "plots/confusion.png").unlink()
    with pytest.raises(SystemExit, match=r"plots/confusion\.png: not there; record a run where it"):
        figures.record_run("default", {})


def test_a_release_may_keep_the_network_of_the_one_before(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where evaluate and gradcam alone have changed: train ran elsewhere, and left no log."""
    before = record(own)
    device = torch.device(before["device"])
    monkeypatch.setattr(machine, "start", lambda precision, **_: (device, precision))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as start has it
    (own / "docs").mkdir()
    (own / "logs/train.jsonl").rename(own / figures.DOCS_LOG)
    (own / "params.yaml").write_text((own / "params.yaml").read_text() + "# evaluated anew\n")
    run(own, "git", "commit", "-qam", "evaluated anew")
    result = record(own, before)
    assert result["commit"] != before["commit"] == result["trained"]["commit"]
    same = before.keys() - {"commit", "seconds_of_epochs"}
    assert {name: result[name] for name in same} == {name: before[name] for name in same}
    assert before.items() >= (result["trained"] | {"commit": before["commit"]}).items()
    assert record(own, result) == yaml.safe_load(yaml.safe_dump(result)) == result
    text = model_card(result, yaml.safe_load((own / "params.yaml").read_text()))
    assert f"| commit of the training | `{before['commit']}` |" in text
    assert f"| commit of evaluate and gradcam | `{result['commit']}` |" in text
    log = own / figures.DOCS_LOG
    log.write_text(log.read_text().replace('"train_loss": ', '"train_loss": 9'))
    with pytest.raises(SystemExit, match=r"the last run of docs/training\.jsonl is not that of"):
        record(own, before)


def test_the_log_of_another_run_is_refused(own: Path) -> None:
    """And an epoch that was trained again after a kill counts once."""
    log = own / "logs/train.jsonl"
    start, *epochs = log.read_text().splitlines(keepends=True)
    expected = record(own)
    log.write_text("".join([start, epochs[0], start, *epochs]))
    assert record(own) == expected
    other = json.loads(epochs[-1]) | {"run": "another", "train_loss": 9.0}
    log.write_text(log.read_text() + row("another") + json.dumps(other) + "\n")
    with pytest.raises(SystemExit, match=r"the last run of logs/train\.jsonl is not that"):
        record(own)


def test_a_training_that_ended_in_its_first_epoch_is_refused_too(own: Path) -> None:
    """The log then ends with its first line, which has no loss."""
    with open(own / "logs/train.jsonl", "a") as log:
        log.write('{"run": "another", "device": "cpu"}\n')
    with pytest.raises(SystemExit, match=r"^error: the last run of logs/train\.jsonl is not that"):
        record(own)


@pytest.mark.parametrize("name", ["metrics/gradcam.json", "logs/train.jsonl"])
def test_a_file_of_the_run_that_is_gone_is_named(name: str, own: Path) -> None:
    (own / name).unlink()
    with pytest.raises(InputError, match=f"{name}: cannot be read .*; record a run where it was"):
        record(own)


def row(run: str, **values: float) -> str:
    return json.dumps({"run": run, **values}) + "\n"


def test_the_log_s_last_run_is_read_through_what_happened_to_it() -> None:
    """A kill, another run, a longer training of the same name, and a disk that was full."""
    log = row("a", startup_seconds=1)
    log += "".join(row("a", epoch=epoch, seconds=5) for epoch in range(1, 5))
    log += row("b", startup_seconds=1) + row("b", epoch=1, seconds=9)
    log += row("a", startup_seconds=2) + row("a", epoch=1, seconds=6) + '{"run": "a", "epo\n'
    log += row("a", startup_seconds=3) + row("a", epoch=2, seconds=7)
    start, *epochs = last_run(log)
    assert start["startup_seconds"] == 1
    assert [(line["epoch"], line["seconds"]) for line in epochs] == [(1, 6), (2, 7)]
    assert last_run(log + row("a", startup_seconds=4))[1:] == epochs


@pytest.mark.parametrize("log", ["", "\n", '{"run": "a", "epo', "3\n"])
def test_a_log_without_a_run_is_a_sentence(log: str) -> None:
    with pytest.raises(InputError, match=r"^logs/train\.jsonl: has no whole line; `dvc repro -f`"):
        last_run(log)


def test_a_run_whose_first_line_is_cut_is_refused() -> None:
    """It says on which machine the run was made."""
    log = row("a", startup_seconds=1) + '{"run": "b", "star\n' + row("b", epoch=1, seconds=9)
    with pytest.raises(InputError, match=r"the first line of the last run is cut; `dvc repro -f`"):
        last_run(log)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_without_the_name_of_its_run_is_shown(place: int) -> None:
    lines = [row("a", startup_seconds=1), row("a", epoch=1)]
    lines.insert(place, '{"note": "mine"}\n')
    with pytest.raises(InputError, match=r'a line names no run, .* remove it: {"note": "mine"}$'):
        last_run("".join(lines))


@pytest.mark.parametrize("text", [None, "default: [", "[]", ""])
def test_a_result_that_cannot_be_read_is_a_sentence(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "result.yaml").write_text(text)
    with pytest.raises(InputError, match=r"result\.yaml: .*; `git checkout HEAD -- result\.yaml`"):
        read_results(tmp_path / "result.yaml")


COMMANDS = {
    "figures quick none none": "none: no such experiment; `dvc exp list` names them",
    "rounding": "DEVICE: 'nowhere' is not on this machine",
}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_fault_is_no_traceback(words: str) -> None:
    command = [sys.executable, "-m", *f"release.{words}".split()]
    done = run(ROOT, *command, check=False, DEVICE="nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {COMMANDS[words]}")
    assert len(done.stderr.splitlines()) == 1
