"""`make same-bits` calls files the same if they are the same, and only then."""

import json
from pathlib import Path

import pytest
import yaml

from benchmarks import same_bits
from tests.conftest import committed_params, run

PIPELINE = """
stages:
  make:
    cmd: python make.py
    deps: [make.py]
    params: [word]
    outs: [{out}]
    metrics:
      - metrics.json: {{cache: false}}
"""
MAKE = """
import json, pathlib
path = pathlib.Path("{out}")
path.parent.mkdir(exist_ok=True)
path.write_text("{word}")
pathlib.Path("metrics.json").write_text(json.dumps({metrics}))
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed project with a demo of one stage; it is the working directory."""
    folder = tmp_path / "repository"
    (folder / "demo").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CIFAR10_ARCHIVE", raising=False)
    (folder / ".gitignore").write_text("bench/\n")
    write(folder)
    run(folder, "git", "init", "-q")
    run(folder / "demo", "dvc", "init", "-q", "--subdir")
    commit(folder)
    return folder


def write(folder: Path, out: str = "plots/x.txt", word: str = "one", **metrics: float) -> None:
    (folder / "demo/dvc.yaml").write_text(PIPELINE.format(out=out))
    code = MAKE.format(out=out, word=word, metrics=metrics or {"a": 1, "b": 2})
    (folder / "demo/make.py").write_text(code)
    (folder / "demo/params.yaml").write_text("word: x\n")


def commit(folder: Path) -> None:
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "a commit")


def said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[str, object]:
    """What `make same-bits BASE=HEAD` prints, and its exit status."""
    monkeypatch.setattr("sys.argv", ["same_bits", "HEAD"])
    with pytest.raises(SystemExit) as ended:
        same_bits.main()
    return capfd.readouterr().out, ended.value.code


def test_an_edit_without_effect_is_the_same(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The edit is uncommitted, in a file that git does not know; the repository does not change."""
    code = (repository / "demo/make.py").read_text()
    (repository / "demo/make.py").write_text("import more\n" + code)
    (repository / "demo/more.py").write_text("")
    before = run(repository, "git", "status", "--porcelain").stdout
    output, status = said(monkeypatch, capfd)
    assert status is None
    assert "demo/plots/x.txt" in output
    assert output.count(" same\n") == 2
    assert run(repository, "git", "status", "--porcelain").stdout == before
    assert run(repository, "git", "rev-list", "--all", "--count").stdout.strip() == "1"


def test_a_difference_is_named_and_fails(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file is matched in another folder, too; for JSON the names that differ are printed."""
    write(repository, out="pictures/x.txt", a=1, b=3)
    output, status = said(monkeypatch, capfd)
    assert status == "1 of 2 files are not the same"
    assert "demo/plots/x.txt -> demo/pictures/x.txt" in output
    assert "different in b\n" in output
    write(repository, word="two", b=2, a=1)
    output, status = said(monkeypatch, capfd)
    assert status == "2 of 2 files are not the same"
    assert "different in form only\n" in output


def test_base_is_run_once(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its outputs are kept, and do not serve for other code or other settings."""
    said(monkeypatch, capfd)
    (kept,) = same_bits.KEPT.iterdir()
    (kept / "demo/plots/x.txt").write_text("kept")
    assert said(monkeypatch, capfd)[1] == "1 of 2 files are not the same"
    monkeypatch.setenv("THREADS", "1")
    assert said(monkeypatch, capfd)[1] is None
    write(repository, word="two")
    commit(repository)
    assert said(monkeypatch, capfd)[1] is None
    assert len(list(same_bits.KEPT.iterdir())) == 3


def test_files_that_only_one_side_has_are_named() -> None:
    rows = same_bits.compare({"demo/a.csv": b"1", "demo/b.csv": b"2"}, {"demo/a.csv": b"1"})
    assert rows == [("demo/a.csv", "same"), ("demo/b.csv", "only in BASE")]
    rows = same_bits.compare({}, {"demo/c.csv": b""})
    assert rows == [("demo/c.csv", "only in the working copy")]
    # A file of the demo does not match the probe's file of the same name.
    rows = same_bits.compare({"demo/a.csv": b"1"}, {"probe/a.csv": b"1"})
    assert [verdict for _, verdict in rows] == ["only in BASE", "only in the working copy"]


def test_the_probe_is_the_committed_recipe_made_short() -> None:
    """A tree that lacks one of the probe's names runs without it."""
    values = {"data": {"train_limit": None}, "train": {"epochs": 30, "lr": 0.1}}
    same_bits.shorten(values)
    assert values == {"data": {"train_limit": 1024}, "train": {"epochs": 2, "lr": 0.1}}
    real = yaml.safe_load(committed_params())
    before = json.dumps(real)
    same_bits.shorten(real)
    assert json.dumps(real) != before
    assert real["lr_find"]["num_iter"] == same_bits.PROBE["lr_find.num_iter"]


@pytest.mark.parametrize("words", [[], [""], ["no-such-commit"]])
def test_without_a_commit_one_sentence(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["same_bits", *words])
    with pytest.raises(SystemExit, match=r"^error: .*make same-bits BASE=<commit>"):
        same_bits.main()


def test_a_pipeline_that_fails_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (repository / "demo/make.py").write_text("raise SystemExit(1)\n")
    _, status = said(monkeypatch, capfd)
    assert str(status).startswith("error: `dvc repro` failed in ")
