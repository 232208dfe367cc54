"""`make verify` says yes to the published result, and only to that."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from release import rounding, verify
from release.figures import record
from release.outputs import shipped
from release.verify import (
    Row,
    check_accuracy,
    check_result,
    check_training,
    compare,
    difference,
    differing_machine,
    same_files,
    table,
    verdict,
)
from tests.conftest import run

PUBLISHED = {"evaluate": {"top1": 0.9362, "loss": 0.276}, "gradcam": {"layer4": 0.151}}


def here(**changes: float) -> Any:
    return {s: {k: v + changes.get(k, 0.0) for k, v in m.items()} for s, m in PUBLISHED.items()}


@pytest.mark.parametrize(
    ("changes", "rounding", "differing", "right", "said"),
    [
        ({}, {}, [], True, "published bits"),
        ({"loss": 1e-15}, {}, [], False, "evaluate.loss differ by more than allowed"),
        ({"loss": 1e-15}, {}, [], False, "of the published kind"),
        ({"loss": 0.0029}, {"evaluate": 0.001}, ["x"], True, "within rounding"),
        ({"loss": 0.0031}, {"evaluate": 0.001}, ["x"], False, "evaluate.loss"),
        ({"layer4": -0.0001}, {"evaluate": 0.001}, ["x"], False, "gradcam.layer4"),
    ],
)
def test_a_metric_must_be_the_published_one(
    changes: dict[str, float], rounding: Any, differing: list[str], right: bool, said: str
) -> None:
    rows = compare(PUBLISHED, here(**changes), rounding)
    assert len(rows) == 3
    found, sentence = verdict(rows, differing)
    assert found is right
    assert said in sentence
    assert table(rows).count("DIFFERS") == sum(not row.close for row in rows)


def test_a_metric_on_one_side_only_differs() -> None:
    found = here()
    found["evaluate"]["ece"] = found["evaluate"].pop("loss")
    rows = compare(PUBLISHED, found, {"evaluate": 1.0, "gradcam": 1.0})
    assert [row.name for row in rows if not row.close] == ["evaluate.ece", "evaluate.loss"]
    assert not verdict(rows, ["x"])[0]
    assert Row("a", 1.0, 1.5, 0.5).close
    assert not Row("a", 1.0, 0.4, 0.5).close


def test_what_decides_the_last_bits_is_named(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = record(done)
    device, precision = torch.device(result["device"]), result["precision"]
    monkeypatch.setattr(verify, "start", lambda precision, **_: (device, precision))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as start has it
    assert differing_machine(result, precision) == []
    switches = {**result["switches"], "ATEN_CPU_CAPABILITY": "avx2"}
    assert differing_machine(result | {"torch": "1.0", "switches": switches}, precision) == [
        f"torch {torch.__version__} for 1.0",
        f"switches {result['switches']} for {switches}",
    ]
    if device.type == "cpu":
        able = f"{result['capabilities']} avx1024"
        assert differing_machine(result | {"capabilities": able}, precision) == [
            "the CPU lacks avx1024"
        ]


def test_instruction_sets_are_named_before_names_and_sizes() -> None:
    here, published = "avx2 cpu_name=AMD EPYC l2=1", "amx avx512 cpu_name=Intel Core i7-13700 l2=2"
    assert difference("capabilities", here, published) == "the CPU lacks amx, avx512 and has avx2"
    assert difference("capabilities", "avx2 l2=1", "avx2 l2=2") == (
        "the CPU has avx2 l2=1 for avx2 l2=2"
    )


def test_the_files_that_differ_are_named(published: Path, clone: Path) -> None:
    md5s = shipped(published)
    stage = yaml.safe_load((clone / "dvc.yaml").read_text())["stages"]["gradcam"]
    count = len(stage["outs"])
    said = same_files(clone, md5s, ("gradcam",))
    assert said == f"{count} of {count} files have the published bytes"
    (clone / "plots/gradcam.png").write_bytes(b"another")
    said = same_files(clone, md5s, ("gradcam",))
    assert said == f"{count - 1} of {count} files have the published bytes; not plots/gradcam.png"


def test_an_accuracy_lies_within_three_deviations_of_the_seeds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Mean 0.8720, standard deviation 0.0016 to four digits."""
    quick = {"seeds": [{"top1": 0.8701}, {"top1": 0.8730}, {"top1": 0.8729}]}
    assert check_accuracy(quick, 0.8720 - 3 * 0.00164 + 0.0001)
    assert capsys.readouterr().out == (
        "quick here: 86.72%; published: 87.20% ± 0.16 (n = 3 seeds). "
        "Within 3 standard deviations.\n"
    )
    assert not check_accuracy(quick, 0.8720 - 3 * 0.00164 - 0.0001)
    assert not check_accuracy(quick, 0.8720 + 3 * 0.00165 + 0.0001)
    assert "NOT within" in capsys.readouterr().out


def test_what_is_not_published_is_not_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(verify, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/result.yaml").write_text("default: {}\n")
    cases = {"quick": "no published mean exists", "best": "only quick", "": "has no rounding"}
    for train, said in cases.items():
        monkeypatch.setenv("TRAIN", train)
        with pytest.raises(SystemExit, match=said):
            verify.main()


@pytest.mark.slow
def test_a_run_is_verified_from_nothing(
    published: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own commit, in a copy; a wrong figure is found; another precision is allowed for."""
    before = {path: path.stat().st_mtime_ns for path in published.rglob("*") if path.is_file()}
    result = {**record(published), "rounding": {"evaluate": 0.0, "gradcam": 0.0}}
    assert check_result(published, result)
    said = capsys.readouterr().out
    assert "every metric has the published bits" in said
    assert re.search(r"\n(\d\d) of \1 files have the published bytes\.", said)
    # A CPU without bf16 takes fp32, and what that changes is allowed for.
    monkeypatch.setattr(verify, "in_software", lambda *_: True)
    allowed = result | {"precision": "bf16", "rounding": {"evaluate": 0.05, "gradcam": 0.1}}
    assert check_result(published, allowed)
    assert "precision fp32 for bf16" in capsys.readouterr().out
    monkeypatch.undo()
    result["metrics"]["evaluate"]["top1"] += 0.01
    assert not check_result(published, result)
    assert "No: evaluate.top1 differ" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in published.rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if ".git" not in p.parts} == {
        p: t for p, t in before.items() if ".git" not in p.parts
    }

    result = record(published)
    other = {"fp32": "bf16", "bf16": "fp32"}[result["precision"]]
    found = rounding.measure(published, result)
    assert found["precisions"] == [other]
    assert 0 < found["evaluate"] < 0.05
    assert 0 < found["gradcam"] < 0.1

    monkeypatch.setattr(verify, "published_recipe", lambda _: {"train": {"epochs": 1}})
    quick = {**result, "seeds": [{"top1": 0.5}, {"top1": 0.5}]}
    assert not check_training(published, quick)
    assert "published: 50.00% ± 0.00 (n = 2 seeds). NOT within" in capsys.readouterr().out


def test_a_commit_that_is_not_there_is_named(published: Path) -> None:
    with (
        pytest.raises(SystemExit, match="lacks commit 0000000"),
        verify.clone(published, 40 * "0"),
    ):
        pass
    head = run(published, "git", "rev-parse", "HEAD").stdout.strip()
    with verify.clone(published, head) as project:
        assert yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert not project.exists()
