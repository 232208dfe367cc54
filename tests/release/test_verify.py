"""`make verify` says yes to the published result, and only to that."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from release import rounding, verify
from release.figures import record
from release.outputs import shipped
from release.rerun import Row, compare
from release.verify import (
    check_accuracy,
    check_figures,
    check_network,
    check_result,
    check_training,
    close,
    other_files,
    table,
    verdict,
)

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
    rows = compare(PUBLISHED, here(**changes))
    assert len(rows) == 3
    found, sentence = verdict(rows, rounding, differing, [])
    assert found is right
    assert said in sentence
    count = sum(not close(row, rounding) for row in rows)
    assert table(rows, rounding).count("DIFFERS") == count


@pytest.mark.parametrize(
    ("other", "differing", "right"),
    [
        ("plots/sanity.csv", [], False),
        ("data/test_logits.safetensors", [], False),
        ("plots/sanity.csv", ["x"], True),
        ("plots/sanity.png", [], True),
    ],
)
def test_a_table_must_have_the_published_bytes_on_the_published_kind_of_machine(
    other: str, differing: list[str], right: bool
) -> None:
    found, sentence = verdict(compare(PUBLISHED, here()), {}, differing, [other])
    assert found is right
    assert (other in sentence) is not right


def test_a_metric_on_one_side_only_differs() -> None:
    found = here()
    found["evaluate"]["ece"] = found["evaluate"].pop("loss")
    rows, wide = compare(PUBLISHED, found), {"evaluate": 1.0, "gradcam": 1.0}
    assert [row.name for row in rows if not close(row, wide)] == ["evaluate.ece", "evaluate.loss"]
    assert not verdict(rows, wide, ["x"], [])[0]


def test_a_metric_may_lie_as_far_as_three_roundings_to_either_side() -> None:
    rounding = {"evaluate": 0.5}
    for here, right in ((2.5, True), (2.75, False), (-0.5, True), (-0.75, False)):
        assert close(Row("evaluate", "loss", 1.0, here), rounding) is right
        assert not close(Row("gradcam", "layer4", 1.0, here), rounding)


def test_the_files_that_differ_are_named(published: Path, clone: Path) -> None:
    md5s = shipped(published)
    stage = yaml.safe_load((clone / "dvc.yaml").read_text())["stages"]["gradcam"]
    count = len(stage["outs"])
    other, said = other_files(clone, md5s, ("gradcam",))
    assert other == []
    assert said == f"{count} of {count} files have the published bytes"
    (clone / "plots/gradcam.png").write_bytes(b"another")
    other, said = other_files(clone, md5s, ("gradcam",))
    assert other == ["plots/gradcam.png"]
    assert said == f"{count - 1} of {count} files have the published bytes; not plots/gradcam.png"


def test_an_accuracy_lies_within_three_deviations_of_the_seeds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Mean 0.8720, standard deviation 0.0016 to four digits."""
    quick = {"seeds": [{"top1": 0.8701}, {"top1": 0.8730}, {"top1": 0.8729}]}
    assert check_accuracy(quick, 0.8720 - 3 * 0.00164 + 0.0001)
    assert capsys.readouterr().out == (
        "quick here: 86.72%; published: mean 87.20%, standard deviation 0.16 points over 3 seeds. "
        "Within 3 standard deviations, outside of which 12% of honest runs lie.\n"
    )
    assert not check_accuracy(quick, 0.8720 - 3 * 0.00164 - 0.0001)
    assert not check_accuracy(quick, 0.8720 + 3 * 0.00165 + 0.0001)
    assert "NOT within" in capsys.readouterr().out


def test_a_published_seed_has_its_bits_on_the_published_kind_of_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = {"seeds": [{"seed": seed, "top1": 0.87 + seed / 1e3, "val_accuracy": 0.9}
                       for seed in range(3)]}  # fmt: skip
    monkeypatch.setattr(verify, "differing_machine", lambda *_: [])
    own = {"precision": "bf16", "top1": 0.87, "val_accuracy": 0.9}
    assert check_figures(quick, 0, own)
    assert capsys.readouterr().out == (
        "quick here, with seed 0: 87.00% of the test images, 90.00% of the validation images; "
        "published: 87.00%, 90.00%. Yes: on this kind of machine both must be the same.\n"
    )
    for changed in ({"top1": 0.8701}, {"val_accuracy": 0.9004}):
        assert not check_figures(quick, 0, own | changed)
        assert "No: on this kind of machine" in capsys.readouterr().out
    near = own | {"top1": 0.8701}
    assert check_figures(quick, 7, near)
    assert "Within 3 standard deviations" in capsys.readouterr().out
    monkeypatch.setattr(verify, "differing_machine", lambda *_: ["torch 2 for 3"])
    assert check_figures(quick, 0, near)
    said = capsys.readouterr().out
    assert said.startswith(
        "This machine differs from that of the seeds: torch 2 for 3.\nquick here"
    )


def test_a_network_that_is_not_the_published_one_is_refused(own: Path) -> None:
    result = record(own)
    check_network(own, result)
    result["weights"]["sha256"] = 64 * "0"
    with pytest.raises(SystemExit, match=r"is not the one whose SHA-256 docs/result\.yaml names"):
        check_network(own, result)


@pytest.mark.parametrize(("count", "share"), [(3, 0.12), (5, 0.052)])
def test_as_many_honest_runs_lie_outside_as_it_says(count: int, share: float) -> None:
    draws = np.random.default_rng(0).normal(size=(4000, count + 1))
    quick = [{"seeds": [{"top1": x} for x in row[1:]]} for row in draws]
    outside = [not check_accuracy(each, row[0]) for each, row in zip(quick, draws, strict=True)]
    assert np.mean(outside) == pytest.approx(share, abs=0.02)


def test_what_is_not_published_is_not_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(verify, "RESULT", tmp_path / "result.yaml")
    (tmp_path / "result.yaml").write_text("default: {}\n")
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
    # Seeds of which this training is none.
    quick = {**result, "seeds": [{"seed": seed, "top1": 0.5} for seed in (101, 102)]}
    assert not check_training(published, quick)
    assert (
        "published: mean 50.00%, standard deviation 0.00 points over 2 seeds. NOT within"
        in capsys.readouterr().out
    )
