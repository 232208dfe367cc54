"""The whole pipeline runs through the real `dvc repro`, on a tiny sample."""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.nn.functional import cross_entropy

from src.data.dataset import read_split, read_training_data
from src.data.normalize import Normalize
from src.data.records import Split
from src.evaluation.predict import predict
from src.explanation.answers import load_answers
from src.network.weights import Trained, load_model, save_weights
from src.pipeline.files import read_csv, read_numbers, sha256_file
from src.pipeline.params import Params
from stages.evaluate import main as evaluate
from tests.conftest import ROOT, committed_params, make_project, run, tiny_values, write_params

CORRUPTIONS = "strength,noise,blur,brightness,jpeg,images\n"
OUTPUTS = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def lock(folder: Path) -> Any:
    return yaml.safe_load((folder / "dvc.lock").read_text())


def test_every_output_is_there(done: Path) -> None:
    for stage in OUTPUTS.values():
        for name in stage["outs"]:
            assert (done / name).stat().st_size > 0
    assert run(done, "git", "status", "--porcelain").stdout == ""


def test_metrics_are_few_finite_numbers(done: Path) -> None:
    for path in sorted((done / "metrics").glob("*.json")):
        values = json.loads(path.read_text(), parse_constant=pytest.fail)
        numbers = [v for v in values.values() if isinstance(v, int | float)]
        assert 1 <= len(numbers) <= 8, path.name
        assert None not in values.values()
    names = {path.stem for path in (done / "metrics").glob("*.json")}
    assert names == set(OUTPUTS)


def said(folder: Path, split: Split, mean_std: tuple[list[float], list[float]]) -> torch.Tensor:
    """The logits that a project's network gives."""
    model, about = load_model(folder / "models/model.safetensors", 10)
    normalize = Normalize(*mean_std, torch.device("cpu"))
    return predict(Trained(model.eval(), normalize, about["precision"]), split)


def test_metrics_are_what_the_weights_say(done: Path) -> None:
    values = Params.model_validate(tiny_values())
    metrics = json.loads((done / "metrics/evaluate.json").read_text())
    test = read_split(done / "data", "test")
    answers = load_answers(done / "data/test_logits.safetensors", len(test), 10)
    logits = answers.logits
    assert metrics["top1"] == (logits.argmax(1).numpy() == test.labels).mean()
    assert answers.temperature == metrics.get("temperature")
    assert answers.weights == sha256_file(done / "models/model.safetensors")
    data = read_training_data(done / "data", values.data)
    assert torch.allclose(said(done, test, (data.mean, data.std)), logits, atol=1e-3)
    # The result is the last epoch's weights, and not those of the best: the first is better here.
    history = read_numbers(done / "plots/training.csv", "")
    best, last = (row["val_loss"] for row in history)
    assert data.validation
    found = said(done, data.validation, (data.mean, data.std))
    loss = cross_entropy(found, torch.from_numpy(data.validation.labels)).item()
    assert loss == pytest.approx(last, rel=0.05)
    assert best < last / 2


def test_the_temperature_comes_from_the_validation_images(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage hands over the images that were held out of training, and no others."""
    given: list[Split | None] = []

    class Asked(Exception):
        pass

    def ask(_: Trained, images: Split | None) -> None:
        given.append(images)
        raise Asked

    monkeypatch.chdir(done)
    monkeypatch.setattr("src.evaluation.predict.held_out_temperature", ask)
    values = Params.model_validate(tiny_values())
    with pytest.raises(Asked):
        evaluate(values, {})
    held_out = read_training_data(Path("data"), values.data).validation
    (found,) = given
    assert found is not None
    assert held_out is not None
    assert np.array_equal(found.images, held_out.images)
    assert np.array_equal(found.labels, held_out.labels)


@pytest.mark.slow
def test_a_number_trains_where_the_range_test_finds_no_rate(clone: Path) -> None:
    values = tiny_values()
    values["lr_find"]["exponential"] = {"start_lr": 1e-9, "end_lr": 1e-8}
    values["train"] |= {"lr": "slide", "epochs": 1}
    write_params(clone, values)
    found = run(clone, "dvc", "repro", "lr_find").stdout
    assert "no rate is found: the loss " in found
    assert json.loads((clone / "metrics/lr_find.json").read_text()) == {}
    refused = run(clone, "dvc", "repro", "evaluate", check=False)
    assert refused.returncode != 0
    assert "error in train: train.lr: slide cannot be had" in refused.stdout + refused.stderr
    write_params(clone, values | {"train": values["train"] | {"lr": 0.01}})
    run(clone, "dvc", "repro", "evaluate")
    run(clone, "dvc", "plots", "show", "--json")


def test_scores_and_a_temperature_that_do_not_exist_are_absent(clone: Path, tmp_path: Path) -> None:
    """A network that says the same of every image; the pictures and DVC's chart are drawn."""
    weights = clone / "models/model.safetensors"
    model, about = load_model(weights, 10)
    with torch.no_grad():
        model.fc.weight.zero_()
    save_weights(weights, model, about)
    for name in ("calibration", "classes"):
        (clone / f"plots/{name}.png").unlink()
    said = run(clone, sys.executable, "-m", "stages.evaluate").stdout
    why = "the 40 validation images are classified no better than by chance, or too surely wrong"
    assert f"no temperature is fitted, because {why}: it would be above 20" in said
    metrics = json.loads((clone / "metrics/evaluate.json").read_text())
    assert {"top1", "loss", "ece", "macro_f1"} <= metrics.keys()
    assert not {"temperature", "ece_calibrated"} & metrics.keys()
    rows = read_csv(clone / "plots/classes.csv", "")
    assert sorted(row["precision"] == "" for row in rows) == [False] + [True] * 9
    assert all((clone / f"plots/{name}.png").stat().st_size for name in ("calibration", "classes"))
    table = clone / "plots/classes.csv"
    table.write_text(table.read_text() + "unseen,,,,0\n")
    run(clone, "dvc", "plots", "show", "--out", str(tmp_path / "page"))
    page = (tmp_path / "page/index.html").read_text()
    assert '"text": "F1 of each class"' in page
    assert '"class": "unseen", "precision": "", "recall": "", "f1": ""' in page


def test_no_test_image_is_a_training_image(done: Path) -> None:
    train, test = (
        {image.tobytes() for image in read_split(done / "data", name).images}
        for name in ("train", "test")
    )
    assert len(train) == 200
    assert len(test) == 60
    assert not train & test


def test_a_second_repro_does_nothing(done: Path) -> None:
    before = lock(done)
    output = run(done, "dvc", "repro").stdout
    assert output.count("didn't change, skipping") == 5
    assert "Running" not in output
    assert lock(done) == before
    assert "up to date" in run(done, "dvc", "status").stdout


@pytest.mark.slow
def test_two_clean_runs_give_the_same_lock(done: Path, tmp_path: Path) -> None:
    """Weights, logits, metrics, tables and pictures repeat to the bit, also with loader workers.

    That is so on one thread, and on two.
    """
    again = make_project(tmp_path / "again", tiny_values())
    run(again, "dvc", "repro", WORKERS="2")
    assert lock(again) == lock(done)
    locks = []
    for workers in ("0", "2"):
        run(again, "dvc", "repro", "-f", THREADS="2", WORKERS=workers)
        locks.append(lock(again))
    assert locks[0] == locks[1]


@pytest.mark.slow
def test_without_a_validation_split_all_but_its_figures_are_there(tmp_path: Path) -> None:
    """The recipe `best` has no validation split."""
    values = tiny_values()
    values["data"]["val_size"] = 0
    values["train"] |= {"schedule": "one_cycle"}
    folder = make_project(tmp_path / "project", values)
    run(folder, "dvc", "repro")
    for stage in OUTPUTS.values():
        for name in stage["outs"]:
            assert (folder / name).stat().st_size > 0
    evaluation = json.loads((folder / "metrics/evaluate.json").read_text())
    assert {"top1", "loss", "ece", "macro_f1"} <= evaluation.keys()
    assert not {"temperature", "ece_calibrated"} & evaluation.keys()
    assert not any(
        "val" in name for name in json.loads((folder / "metrics/train.json").read_text())
    )
    shown = run(folder, "dvc", "plots", "show", "--out", str(tmp_path / "page"))
    assert "could not find" not in shown.stderr
    page = (tmp_path / "page/index.html").read_text()
    assert '"text": "Loss"' in page
    assert '"text": "Accuracy"' in page


@pytest.mark.slow
def test_no_tracked_file_names_the_machine(done: Path) -> None:
    node = platform.node().encode()
    for stage in OUTPUTS.values():
        for name in [*stage["outs"], *(path for entry in stage["metrics"] for path in entry)]:
            content = (done / name).read_bytes()
            assert str(done).encode() not in content, name
            # A short name may occur by chance.
            assert len(node) < 6 or node not in content, name
    assert str(done) not in (done / "dvc.lock").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("gradcam.samples=3", ["gradcam"]),
        ("train.lr=0.01", ["train", "evaluate", "gradcam"]),
        ("evaluate.tta=mirror", ["evaluate"]),
    ],
)
def test_an_experiment_runs_what_it_must(clone: Path, override: str, expected: list[str]) -> None:
    """It runs no other stage, and `dvc metrics diff` then shows the change."""
    output = run(clone, "dvc", "exp", "run", "-S", override).stdout
    ran = [name for name in OUTPUTS if f"Running stage '{name}'" in output]
    # A stage whose inputs are equal does not run: mirroring changes a metric, not the logits.
    assert ran == expected
    diff = json.loads(run(clone, "dvc", "metrics", "diff", "--json").stdout)
    assert diff or override.startswith("gradcam")


@pytest.mark.slow
def test_three_experiments_can_be_compared_on_a_screen(clone: Path) -> None:
    """A table of 160 columns shows what people compare, because that comes first."""
    for lr in ("0.01", "0.03"):
        run(clone, "dvc", "exp", "run", "-n", f"lr-{lr}", "-S", f"train.lr={lr}")
    command = ["dvc", "exp", "show", "--only-changed", "--no-pager"]
    rows = run(clone, *command, COLUMNS="160").stdout.splitlines()
    header = next(row for row in rows if "Experiment" in row)
    shown = header[:160].split()
    assert shown[:4] == ["Experiment", "Created", "val_accuracy", "val_loss"]
    assert "top1" in shown
    assert sum("lr-0.0" in row for row in rows) == 2


@pytest.mark.slow
def test_a_queued_experiment_runs_the_code_as_it_was(clone: Path) -> None:
    script = clone / "stages/gradcam.py"
    text = script.read_text()
    script.write_text(text.replace('"""Explain', 'print("as queued")\n"""Explain', 1))
    run(clone, "dvc", "exp", "run", "--queue", "-n", "queued", "-S", "gradcam.samples=3")
    script.write_text(text.replace('"""Explain', 'print("edited later")\n"""Explain', 1))
    run(clone, "dvc", "queue", "start")
    wait = "until dvc queue status | grep -Eq 'Success|Failed'; do sleep 1; done"
    run(clone, "timeout", "1200", "sh", "-c", wait)
    assert "Failed" not in run(clone, "dvc", "queue", "status").stdout
    logs = run(clone, "dvc", "queue", "logs", "queued").stdout
    assert "as queued" in logs
    assert "edited later" not in logs


@pytest.mark.slow
def test_a_temporary_experiment_leaves_the_workspace_alone(clone: Path) -> None:
    run(clone, "dvc", "exp", "run", "--temp", "-n", "apart", "-S", "gradcam.layers=[layer4]")
    assert run(clone, "git", "status", "--porcelain").stdout == ""
    assert run(clone, "dvc", "repro", "--dry").stdout.count("didn't change, skipping") == 5
    assert "apart" in run(clone, "dvc", "exp", "list").stdout


def test_plots_are_drawn(done: Path, tmp_path: Path) -> None:
    run(done, "dvc", "plots", "show", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    for title in ("Learning rate range test", "Loss", "Accuracy", "Confusion of classes"):
        assert f'"text": "{title}"' in page
    for name in ("gradcam.png", "misclassified.png", "training.png", "augmentation.png"):
        assert name in page
    assert '"text": "Accuracy against coverage"' in page
    # Corruptions are off: their table has no rows, and DVC leaves the chart out.
    assert (done / "plots/corruptions.csv").read_text() == CORRUPTIONS
    assert '"text": "Accuracy under corruption"' not in page


@pytest.mark.slow
def test_corruptions_that_are_asked_for_are_tried(clone: Path, tmp_path: Path) -> None:
    before = (clone / "plots/corruptions.png").read_bytes()
    top1 = json.loads((clone / "metrics/evaluate.json").read_text())["top1"]
    run(clone, "dvc", "exp", "run", "-S", "evaluate.corruptions=1000", "evaluate")
    text = (clone / "plots/corruptions.csv").read_text()
    assert text.startswith(CORRUPTIONS)
    rows = [[float(cell) for cell in row.split(",")] for row in text.splitlines()[1:]]
    assert [row[0] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[0][1:5] == [top1] * 4  # all 60 test images are tried
    assert rows[0][5] == 60
    assert (clone / "plots/corruptions.png").read_bytes() != before
    run(clone, "dvc", "plots", "show", "--out", str(tmp_path))
    assert '"text": "Accuracy under corruption"' in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_the_linear_range_test_works_in_the_demo(tmp_path: Path) -> None:
    """With the values committed there."""
    values = yaml.safe_load(committed_params("demo/params.yaml"))
    folder = make_project(tmp_path / "project", values)
    output = run(folder, "dvc", "exp", "run", "-S", "lr_find.mode=linear", "lr_find").stdout
    assert "range test: " in output
    rates = json.loads((folder / "metrics/lr_find.json").read_text())
    span = values["lr_find"]["linear"]
    assert all(span["start_lr"] <= rate <= span["end_lr"] for rate in rates.values())
    assert rates["base_lr"] < rates["max_lr"]


def test_a_stage_names_what_is_wrong_and_exits_with_1(project: Path, values: Any) -> None:
    values["train"]["batch_size"] = 0
    write_params(project, values)
    result = run(project, "dvc", "repro", "download", check=False)
    assert result.returncode != 0
    assert "error in download: train.batch_size: 0 is not at least 2 (params.yaml)" in result.stderr
    assert "Traceback" not in result.stderr
