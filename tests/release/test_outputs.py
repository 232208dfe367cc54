"""A fresh clone has the network and what was said of it, by git alone."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from release.outputs import (
    DATA,
    OUTPUTS,
    command,
    missing,
    outs_of,
    pull,
    push,
    released,
    shipped,
    stored,
)
from src.data.dataset import read_classes, read_statistics
from src.data.records import from_records
from src.evaluation.predict import predict
from src.explanation.answers import load_answers
from src.network.weights import load_trained
from src.pipeline.errors import InputError
from src.pipeline.git import git
from src.sources.shapes import load_shapes
from tests.conftest import PROJECTS, ROOT, run, skip_without, tiny_values


def test_dvc_pull_brings_everything_but_the_data(fresh: Path, published: Path) -> None:
    assert "model.safetensors" in run(fresh, "dvc", "pull", "--allow-missing").stdout
    for name in shipped(published):
        assert (fresh / name).read_bytes() == (published / name).read_bytes()
    assert not any((fresh / name).exists() for name in DATA)
    assert run(fresh, "git", "status", "--porcelain").stdout == ""
    dry = run(fresh, "dvc", "repro", "--dry", "--allow-missing").stdout
    assert dry.count("didn't change, skipping") == 5


def test_the_network_predicts_before_any_training_and_without_data(fresh: Path) -> None:
    pull(fresh, fresh / OUTPUTS)
    classes = read_classes(fresh / "data")
    statistics = read_statistics(fresh / "data")
    trained = load_trained(fresh / "models/model.safetensors", len(classes), *statistics)
    shapes = tiny_values()["data"]["shapes"]
    _, test, _ = load_shapes(shapes["train"], shapes["test"], shapes["seed"])
    logits = load_answers(fresh / "data/test_logits.safetensors", len(test), len(classes)).logits
    said = predict(trained, from_records(test))
    assert torch.equal(said, logits)


def test_git_ships_what_the_run_wrote_and_no_more(published: Path) -> None:
    tracked = run(published, "git", "ls-files", OUTPUTS).stdout.split()
    assert len(tracked) == 1 + len(set(shipped(published).values()))
    assert set(stored(published / OUTPUTS)) == set(shipped(published).values())
    outs = {o for s in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
            for o in s["outs"]}  # fmt: skip
    assert shipped(published).keys() == outs - set(DATA)


def test_a_push_replaces_the_release_before_it(own: Path) -> None:
    before = set(stored(own / OUTPUTS))
    write_anew(own / "plots/model.txt")
    run(own, "dvc", "commit", "-f", "train")
    push(own)
    after = set(stored(own / OUTPUTS))
    assert len(after) == len(before)
    assert len(after - before) == 1
    status = run(own, "git", "status", "--porcelain", OUTPUTS).stdout
    assert sorted(line[0] for line in status.splitlines()) == ["A", "D"]


def test_a_release_leaves_the_runs_that_were_pushed_there(own: Path) -> None:
    """`dvc push` takes the folder for every run, and may have the only copy of one."""
    write_anew(own / "plots/model.txt")
    run(own, "dvc", "commit", "-f", "train")
    run(own, "dvc", "push", "plots/model.txt")
    pushed = shipped(own)["plots/model.txt"]
    run(own, "git", "checkout", "-q", "HEAD", "dvc.lock")
    push(own)
    assert pushed in stored(own / OUTPUTS)
    assert run(own, "git", "status", "--porcelain", OUTPUTS).stdout == ""


def test_what_cannot_be_replaced_stays(own: Path) -> None:
    """The cache lacks the run, as in a clone where somebody else's was committed."""
    before = stored(own / OUTPUTS)
    lock = own / "dvc.lock"
    lock.write_text(lock.read_text().replace(shipped(own)["plots/model.txt"], 32 * "f"))
    with pytest.raises(SystemExit):
        push(own)
    assert stored(own / OUTPUTS) == before


def test_another_run_is_not_taken_for_the_published_one(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = fresh / "dvc.lock"
    lock.write_text(lock.read_text().replace(shipped(fresh)["plots/model.txt"], 32 * "f"))
    with pytest.raises(SystemExit, match=r"another run than the published one \(plots/model.txt"):
        pull(fresh, fresh / OUTPUTS)
    with pytest.raises(SystemExit, match="no run has been published there"):
        pull(fresh, fresh / "nowhere")
    assert not (fresh / "plots/model.txt").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("pattern", ["files/md5/*", "files/md5/[0-7]*"])
def test_files_that_were_deleted_come_back_by_git(pattern: str, fresh: Path) -> None:
    """As after `dvc gc --cloud`: all of them, or some; dvc.lock is not to blame."""
    for folder in (fresh / OUTPUTS).glob(pattern):
        shutil.rmtree(folder)
    with pytest.raises(SystemExit, match=r"^error: \d+ of the release's files are gone; `git ch"):
        pull(fresh, fresh / OUTPUTS)
    run(fresh, "git", "checkout", "HEAD", "--", OUTPUTS)
    pull(fresh, fresh / OUTPUTS)


@pytest.mark.parametrize("before", ["never pulled", "pulled once"])
def test_a_damaged_file_is_refused(before: str, fresh: Path) -> None:
    """DVC trusts a file that it has found right once, and never reads it again."""
    if before == "pulled once":
        pull(fresh, fresh / OUTPUTS)
        shutil.rmtree(fresh / ".dvc/cache")
        (fresh / "models/model.safetensors").unlink()
    md5 = shipped(fresh)["models/model.safetensors"]
    file = fresh / OUTPUTS / "files/md5" / md5[:2] / md5[2:]
    content, mode = bytearray(file.read_bytes()), file.stat().st_mode
    content[-5] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(
        SystemExit, match=rf"{md5[2:]}: is damaged; `git checkout HEAD -- {OUTPUTS}"
    ):
        pull(fresh, fresh / OUTPUTS)
    assert not (fresh / "models/model.safetensors").exists()
    run(fresh, "git", "checkout", "HEAD", "--", OUTPUTS)
    pull(fresh, fresh / OUTPUTS)
    assert (fresh / "models/model.safetensors").exists()


def test_a_run_that_is_not_recorded_is_not_published(own: Path) -> None:
    """After `make quick`, say, dvc.lock has a run that docs/result.yaml knows nothing of."""
    before = stored(own / OUTPUTS)
    (own / "docs").mkdir()
    recorded = own / "docs/result.yaml"
    recorded.write_text(yaml.safe_dump({"default": {"weights": {"md5": 32 * "0"}}}))
    with pytest.raises(SystemExit, match=r"another network than docs/result\.yaml; `make figures`"):
        push(own)
    assert stored(own / OUTPUTS) == before
    network = shipped(own)["models/model.safetensors"]
    recorded.write_text(yaml.safe_dump({"default": {"weights": {"md5": network}}}))
    push(own)


OUTS = """\
stages:
  plain: {outs: [a.png]}
  with_options: {outs: [b.png: {persist: true}, c.png]}
  none: {cmd: "true"}
"""


def test_every_form_of_an_output_in_dvc_yaml_is_understood(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(OUTS)
    expected = {"plain": ["a.png"], "with_options": ["b.png", "c.png"], "none": []}
    assert outs_of(tmp_path) == expected


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\nstages:\n=======\n", "stages: 3", ""])
def test_a_dvc_yaml_that_cannot_be_read_is_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(text)
    with pytest.raises(InputError, match=r"^dvc\.yaml: cannot be read .*; `git checkout HEAD --"):
        outs_of(tmp_path)


def test_a_program_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git in a container that holds an unpacked copy."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^dvc cannot be started .*; `source .venv/bin/activate`"):
        command(tmp_path, "dvc", "pull")
    assert released(tmp_path) == set()
    with pytest.raises(InputError, match=r"^git cannot be started .*; install it"):
        git(tmp_path, "status")


def write_anew(path: Path) -> None:
    """Another content; a link into DVC's cache is not written through."""
    path.unlink()
    path.write_text("another network\n")


def test_dvc_leaves_the_release_alone(own: Path) -> None:
    """A push of one's own stays out of git; `dvc gc` empties the cache, not the release."""
    published = (own / "plots/model.txt").read_bytes()
    write_anew(own / "plots/model.txt")
    run(own, "dvc", "commit", "-f", "train")
    run(own, "dvc", "push", "plots/model.txt")
    run(own, "dvc", "gc", "--workspace", "--force")
    assert run(own, "git", "status", "--porcelain", OUTPUTS).stdout == ""
    # The cache has only one's own file now.
    run(own, "git", "checkout", "-q", "HEAD", "dvc.lock")
    assert not missing(own, own / OUTPUTS)
    run(own, "dvc", "pull", "--force", "plots/model.txt")
    assert (own / "plots/model.txt").read_bytes() == published


@pytest.mark.slow
def test_an_experiment_goes_on_from_the_release(fresh: Path) -> None:
    """It gets the data, trains nothing, and leaves the release as it was."""
    pull(fresh, fresh / OUTPUTS)
    for apart in ([], ["--temp"]):
        output = run(fresh, "dvc", "exp", "run", *apart, "-S", f"gradcam.samples={3 + len(apart)}")
        ran = [line for line in output.stdout.splitlines() if line.startswith("Running stage")]
        assert "Running stage 'gradcam':" in ran
        assert "Running stage 'train':" not in ran
    assert run(fresh, "git", "status", "--porcelain", OUTPUTS).stdout == ""


def test_the_last_commit_has_the_published_network(tmp_path: Path) -> None:
    """`make weights` in a fresh clone, also where code and lock are ahead of the release."""
    network = yaml.safe_load((ROOT / "docs/result.yaml").read_text())["default"]["weights"]
    run(ROOT, "git", "clone", "-q", str(ROOT), str(tmp_path / "clone"))
    project = tmp_path / "clone"
    if shipped(project)["models/model.safetensors"] != network["md5"]:
        pytest.skip("the last commit records a run of your own")
    pull(project, project / OUTPUTS)
    weights = (project / "models/model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == network["sha256"]


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_published_here_is_one_run(name: str) -> None:
    """Before the first release the folder is empty; after it each file is of the recorded run."""
    project = ROOT / PROJECTS[name]
    commit = yaml.safe_load((ROOT / "docs/result.yaml").read_text())[name]["commit"]
    skip_without(commit)
    shown = run(ROOT, "git", "ls-files", f"{project.relative_to(ROOT)}/{OUTPUTS}/files").stdout
    files = [ROOT / line for line in shown.split()]
    for file in files:
        md5 = hashlib.md5(file.read_bytes()).hexdigest()
        assert md5 == f"{file.parent.name}{file.name}"
    prefix = f"{project.relative_to(ROOT)}/".lstrip("./")
    # HEAD's lock has the same run by other code, or a run of yours.
    texts = [run(ROOT, "git", "show", f"{at}:{prefix}dvc.lock").stdout for at in (commit, "HEAD")]
    stages = [stage for text in texts for stage in yaml.safe_load(text)["stages"].values()]
    locked = {out["md5"] for stage in stages for out in stage["outs"]}
    assert {f"{file.parent.name}{file.name}" for file in files} <= locked
    assert sum(map(os.path.getsize, files)) < 30e6
