"""Only a temperature that dvc.lock gives to these very weights is used."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from src.data.tensors import save_tensors
from src.pipeline.files import sha256_file
from src.pipeline.lock import md5
from src.predict.temperature import NotCalibrated, temperature_for
from tests.predict.conftest import TEMPERATURE


@pytest.fixture
def copy(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the weights in a copy of their project, which lies in the working directory."""
    shutil.copytree(weights.parent.parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    return Path("copy/models/model.safetensors")


def why_not(weights: Path) -> str:
    with pytest.raises(NotCalibrated) as told:
        temperature_for(weights)
    return str(told.value)


def test_it_is_evaluate_s(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert temperature_for(copy) == TEMPERATURE
    assert temperature_for(copy.absolute()) == TEMPERATURE
    monkeypatch.chdir(copy.parent.parent)
    assert temperature_for(Path("models/model.safetensors")) == TEMPERATURE


def test_weights_alone_have_none(copy: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(copy, tmp_path))
    assert why_not(alone) == "no metrics/evaluate.json goes with the weights"


def test_other_weights_have_none(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert why_not(copy) == (
        "copy/metrics/evaluate.json is not of these weights, as far as copy/dvc.lock says; "
        "`dvc repro evaluate` in copy writes it anew"
    )
    monkeypatch.chdir(copy.parent.parent)
    assert why_not(Path("models/model.safetensors")) == (
        "metrics/evaluate.json is not of these weights, as far as dvc.lock says; "
        "`dvc repro evaluate` writes it anew"
    )


def test_a_lock_that_takes_old_answers_for_those_of_new_weights_is_not_believed(
    copy: Path,
) -> None:
    """As `dvc commit -f` and `dvc exp save` write it after `dvc repro train`."""
    logits = copy.parent.parent / "data/test_logits.safetensors"
    save_tensors(logits, {"logits": torch.zeros(2, 4)}, {"weights": sha256_file(copy)})
    assert temperature_for(copy) == TEMPERATURE
    save_tensors(logits, {"logits": torch.zeros(2, 4)}, {"weights": "another"})
    assert why_not(copy) == (
        "copy/data/test_logits.safetensors is of other weights, and so is "
        "copy/metrics/evaluate.json; `dvc repro -f -s evaluate` writes them anew"
    )
    logits.write_bytes(b"damaged")
    assert temperature_for(copy) == TEMPERATURE


def test_a_run_that_dvc_lock_does_not_record_is_brought_back_whole(copy: Path) -> None:
    """As after `make quick` and `git checkout HEAD -- dvc.lock`: evaluate would train first."""
    lock = copy.parent.parent / "dvc.lock"
    values = yaml.safe_load(lock.read_text())
    values["stages"]["train"] = {"outs": [{"path": "models/model.safetensors", "md5": md5(copy)}]}
    lock.write_text(yaml.safe_dump(values))
    assert temperature_for(copy) == TEMPERATURE
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert why_not(copy) == (
        "copy/metrics/evaluate.json is not of these weights, as far as copy/dvc.lock says, which "
        "records another run in copy: `dvc exp apply NAME` brings an experiment back whole, "
        "`dvc checkout` dvc.lock's run"
    )


def test_of_weights_that_evaluate_never_reads_no_way_out_is_told(copy: Path) -> None:
    kept = copy.rename(copy.with_name("old.safetensors"))
    kept.write_bytes(kept.read_bytes() + b"\0")
    assert why_not(kept) == (
        "copy/metrics/evaluate.json is not of these weights, as far as copy/dvc.lock says"
    )


def test_other_metrics_than_the_lock_s_do_not_count(copy: Path) -> None:
    (copy.parent.parent / "metrics/evaluate.json").write_text('{"temperature": 0.1}')
    assert "is not of these weights" in why_not(copy)


def test_a_lock_without_evaluate_says_nothing(copy: Path) -> None:
    (copy.parent.parent / "dvc.lock").write_text("stages: {}")
    assert "is not of these weights, as far as copy/dvc.lock says" in why_not(copy)


def test_a_lock_that_cannot_be_read_is_told(copy: Path) -> None:
    lock = copy.parent.parent / "dvc.lock"
    lock.write_text("stages: {evaluate: {deps: 3}}")
    assert why_not(copy) == "copy/metrics/evaluate.json or copy/dvc.lock cannot be read"
    lock.unlink()
    assert why_not(copy) == "copy/metrics/evaluate.json or copy/dvc.lock cannot be read"


def test_metrics_that_the_system_refuses_to_show_say_nothing(copy: Path) -> None:
    metrics = copy.parent.parent / "metrics"
    shutil.rmtree(metrics)
    metrics.symlink_to("a" * 300)
    assert why_not(copy) == "copy/metrics/evaluate.json or copy/dvc.lock cannot be read"


def test_an_evaluation_without_a_temperature_has_none(copy: Path) -> None:
    project = copy.parent.parent
    metrics, lock = project / "metrics/evaluate.json", project / "dvc.lock"
    metrics.write_text(json.dumps({"top1": 0.9}))
    values = yaml.safe_load(lock.read_text())
    values["stages"]["evaluate"]["outs"][0]["md5"] = md5(metrics)
    lock.write_text(yaml.safe_dump(values))
    assert why_not(copy) == "evaluation found no temperature (copy/metrics/evaluate.json)"
