"""`python -m src.compare` reads two runs out of DVC's cache, and says what tells them apart."""

import json
import shutil
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from dvc.repo import Repo

from src.compare import command
from src.compare.command import main, parse
from src.compare.figure import HEADER, HEADING, MARGIN, SCALE
from src.compare.paired import Changed, Paired, difference_interval, mcnemar
from src.compare.report import side_line, verdict
from src.compare.runs import read_run
from src.data.dataset import write_dataset
from src.data.records import canonical_order, from_records, to_records
from src.data.tensors import save_tensors
from src.evaluation.interval import wilson
from src.figures.style import enlarge
from src.pipeline.files import read_csv
from src.pipeline.lock import md5
from src.sources.shapes import CLASSES, draw
from tests.conftest import ROOT, run

# A library of DVC's warns of a function that DVC calls.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
LOGITS = "data/test_logits.safetensors"
OUTS = ["data/test.bin", "data/classes.txt", LOGITS]
WEIGHTS = "models/model.safetensors"


def write_run(
    folder: Path, name: str, wrong: list[int], seed: int = 0, classes: Sequence[str] = CLASSES
) -> None:
    """Commit and tag a run whose network is wrong on some of 60 images that `seed` draws."""
    images, labels, _ = draw(60, seed)
    records = canonical_order(to_records(images, labels % len(classes)))
    write_dataset(folder / "data", records, records, classes)
    truth = torch.from_numpy(from_records(records).labels)
    said = truth.clone()
    said[wrong] = (truth[wrong] + 1) % len(classes)
    save_tensors(folder / LOGITS, {"logits": 3.0 * F.one_hot(said, len(classes))}, {})
    train(folder, name)
    evaluate(folder)
    commit(folder, name)


def train(folder: Path, network: str) -> None:
    """Write a network and, as DVC does, what made it into dvc.lock; the test's entry stays."""
    (folder / "models").mkdir(exist_ok=True)
    (folder / WEIGHTS).write_text(network)
    write_lock(folder, download={"outs": entries(folder, OUTS[:2])})
    write_lock(folder, train={"outs": entries(folder, [WEIGHTS])})


def evaluate(folder: Path) -> None:
    read, wrote = entries(folder, [*OUTS[:2], WEIGHTS]), entries(folder, [LOGITS])
    write_lock(folder, evaluate={"deps": read, "outs": wrote})


def entries(folder: Path, names: list[str]) -> list[dict[str, str]]:
    return [{"path": name, "md5": md5(folder / name)} for name in names]


def write_lock(folder: Path, **stages: Any) -> None:
    lock = folder / "dvc.lock"
    old = yaml.safe_load(lock.read_text())["stages"] if lock.exists() else {}
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": old | stages}))


def commit(folder: Path, name: str) -> None:
    with Repo(str(folder)) as repo:
        repo.add([str(folder / out) for out in OUTS])
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", name)
    run(folder, "git", "tag", name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run at each tag, inside another one like the demo; it must not change."""
    outer = tmp_path_factory.mktemp("compare")
    folder = outer / "project"
    folder.mkdir()
    run(outer, "git", "init", "-q")
    for where, words in ((outer, "dvc init -q"), (folder, "dvc init -q --subdir")):
        run(where, *words.split())
    run(outer, "git", "commit", "-qm", "empty")
    run(outer, "git", "tag", "empty")
    write_run(outer, "outer-worse", list(range(20)))
    write_run(outer, "outer-better", [0])
    write_run(folder, "lost", [7])
    digest = md5(folder / LOGITS)
    (folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()
    write_run(folder, "other-images", [0], seed=5)
    write_run(folder, "few-classes", [0], classes=CLASSES[:3])
    write_run(folder, "other-names", [0], classes=[*CLASSES[:9], "sand glass"])
    save_tensors(folder / LOGITS, {"logits": torch.zeros(59, 10)}, {})
    commit(folder, "unfit")
    train(folder, "another network")
    commit(folder, "untested")
    about = {"weights": sha256(b"another network").hexdigest()}
    save_tensors(folder / LOGITS, {"logits": torch.zeros(60, 10)}, about)
    evaluate(folder)
    commit(folder, "tested")
    train(folder, "a third network")
    evaluate(folder)
    commit(folder, "recorded")
    write_run(folder, "spaced", [0, 1])
    (folder / OUTS[1]).write_text("".join(f" {name}\r\n" for name in CLASSES) + "\n \n")
    train(folder, "spaced")
    evaluate(folder)
    commit(folder, "by-hand")
    write_run(folder, "worse", list(range(10)))
    for tag in ("lost", "unfit"):
        head = run(folder, "git", "rev-parse", tag).stdout.strip()
        run(folder, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/twin", tag)
    write_run(folder, "better", [8, 9, 10])
    return folder


Said = pytest.CaptureFixture[str]


def test_it_says_what_tells_two_runs_apart(
    runs: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    command.run(parse(["worse", "better", "--out", str(tmp_path / "c.png")]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "worse       50 of 60 right, 83.33% (95% interval 71.97% to 90.69%)"
    assert lines[1] == "better      57 of 60 right, 95.00% (95% interval 86.30% to 98.29%)"
    low, high = difference_interval(Paired(49, 1, 8, 2))
    assert lines[2] == (
        f"difference  +11.67 points (95% interval {100 * low:+.2f} to {100 * high:+.2f}); "
        "McNemar's test: p = 0.0215"
    )
    assert lines[3].startswith("Chance in the choice of test images seldom does this")
    assert lines[4].startswith("only worse is right on 1 image, where better takes ")
    assert lines[5].startswith("only better is right on 8 images, where worse takes ")
    assert lines[6] == f"their pictures: {tmp_path / 'c.png'}"


def test_two_runs_that_are_right_on_the_same_images_are_called_so(
    runs: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    monkeypatch.setattr("src.compare.runs.check_pair", lambda *_: None)  # refuses equal logits
    command.run(parse(["better", "better", "--out", str(tmp_path / "c.png")]))
    *_, said, one, other = capsys.readouterr().out.splitlines()
    assert said == "Both are right on the same images."
    assert one == other == "only better is right on 0 images"


def test_json_has_each_image_that_changed_side(
    runs: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    command.run(parse(["worse", "better", "--json", "--out", str(tmp_path / "c.png")]))
    found = json.loads(capsys.readouterr().out)
    assert [found[key] for key in ("both", "only_a", "only_b", "neither")] == [49, 1, 8, 2]
    assert found["p_value"] == mcnemar(Paired(49, 1, 8, 2))
    assert found["difference"] == pytest.approx(7 / 60)
    assert (found["a"]["name"], found["a"]["interval"]) == ("worse", list(wilson(50, 60)))
    assert sorted(row["image"] for row in found["changed"]) == [*range(8), 10]
    labels = from_records(np.frombuffer((runs / OUTS[0]).read_bytes(), np.uint8).reshape(60, -1))
    for row in found["changed"]:
        assert row["actual"] == CLASSES[labels.labels[row["image"]]]
        assert row["said_a" if row["image"] == 10 else "said_b"] == row["actual"]
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "c.png")), cv2.COLOR_BGR2RGB)
    top, side = HEADER + HEADING, 32 * SCALE
    shown = sheet[top : top + side, MARGIN : MARGIN + side]
    np.testing.assert_array_equal(shown, enlarge(labels.images[10], SCALE))


def test_a_project_around_another_one_reads_its_own_outputs(
    runs: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    command.run(parse(["outer-worse", "outer-better", "--json", "--out", str(tmp_path / "c.png")]))
    assert json.loads(capsys.readouterr().out)["a"]["right"] == 40


def test_the_working_copy_is_compared_with_the_last_commit(
    runs: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    command.run(parse(["worse", "--json", "--out", str(tmp_path / "c.png")]))
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["name"], found["b"]["name"]) == ("worse", "workspace")
    with pytest.raises(SystemExit, match="HEAD and workspace give the same logits for every"):
        main([])


def test_a_list_of_classes_is_read_as_the_stages_read_it(
    runs: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by hand, with blanks around the names and lines without a name at the end."""
    monkeypatch.chdir(runs)
    command.run(parse(["by-hand", "worse", "--json", "--out", str(tmp_path / "c.png")]))
    found = json.loads(capsys.readouterr().out)
    assert [found["a"]["right"], found["b"]["right"]] == [58, 50]


def test_without_git_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a copy that was unpacked from an archive."""
    run(tmp_path, "dvc", "init", "--no-scm", "--quiet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^error: HEAD: this folder is no git repository, so it"):
        main([])


REFUSED = [
    ("nosuch", "worse", "error: nosuch: is neither a git revision nor an experiment; `git log`"),
    ("twin", "worse", "error: twin: experiments of several commits have this name; `git for-each"),
    ("a\nb", "worse", r"error: a\nb: is neither a git revision nor an experiment; `git log`"),
    ("worse", "\udcff", r"error: \udcff: is neither a git revision nor an experiment; `git log`"),
    ("", "worse", "error: '': is neither a git revision nor an experiment; `git log` and `dvc"),
    ("worse:dvc.lock", "better", "error: worse:dvc.lock: is neither a git revision nor an exper"),
    ("empty", "worse", "error: empty: data/test.bin is not in DVC's cache, so that run was made"),
    ("outer-better", "worse", "error: outer-better: data/test.bin is not in DVC's cache, so that"),
    ("unfit", "worse", f"error: unfit: {LOGITS}: holds logits (59, 10), not (60, 10); run `dvc re"),
    ("worse", "lost", f"error: lost: {LOGITS} is not in DVC's cache, so that run was made"),
    (
        "worse", "untested",
        f"error: untested: evaluate read another {WEIGHTS} than this run has, so this run was "
        "never tested; bring it into the working copy (`dvc exp apply` or `git checkout`), run "
        "`dvc repro`, and compare `workspace`",
    ),
    (
        "worse", "recorded",
        f"error: recorded: {LOGITS} has the answers of another network than this run's, which was "
        "never tested; bring it into the working copy (`dvc exp apply` or `git checkout`), run "
        "`dvc repro -f -s evaluate`, and compare `workspace`",
    ),
    ("worse", "worse", "error: worse and worse give the same logits for every image, so they do"),
    ("worse", "few-classes", "error: worse tells 10 classes apart and few-classes 3; compare runs"),
    ("other-names", "worse", "error: other-names tells 10 classes apart and worse 10, of other n"),
    ("worse", "other-images", "error: worse and other-images were tested on different images"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "sentence"), REFUSED)
def test_what_cannot_be_compared_is_said_in_a_sentence(
    a: str, b: str, sentence: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    with pytest.raises(SystemExit) as raised:
        main([a, b])
    assert str(raised.value).startswith(sentence)
    assert "\n" not in str(raised.value)
    assert not (runs / "dvc_plots").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        # As after `python -m stages.train`, or after a recipe and `git checkout HEAD -- dvc.lock`.
        (
            WEIGHTS,
            f"dvc.lock records another run than {WEIGHTS}: `dvc exp apply NAME` brings an "
            "experiment back whole, `dvc checkout` dvc.lock's run",
        ),
        (
            "data/classes.txt",
            "evaluate read another data/classes.txt than this run has, so this run was never "
            "tested; run `dvc repro`",
        ),
        (
            LOGITS,
            f"evaluate wrote another {LOGITS} than this run has, so this run was never tested; "
            "run `dvc repro`",
        ),
    ],
)
def test_a_working_copy_that_has_changed_since_its_test_is_refused(
    name: str, said: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs.parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy" / runs.name)
    with open(name, "ab") as file:
        file.write(b"\n")
    sentence = f"error: workspace: {said}"
    with pytest.raises(SystemExit) as raised:
        main(["worse"])
    assert raised.value.code == sentence
    Path(WEIGHTS).unlink()
    with pytest.raises(SystemExit, match=f"evaluate read another {WEIGHTS} than this run has"):
        main(["worse"])


def test_answers_that_dvc_commit_took_for_the_network_s_own_are_refused(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the working copy too; those that name this network, and those that name none, are not."""
    shutil.copytree(runs.parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy" / runs.name)
    assert read_run("tested").name == "tested"
    run(Path(), "git", "checkout", "-q", "recorded")
    run(Path(), "dvc", "checkout", "-q", "--force")
    with pytest.raises(SystemExit) as raised:
        main(["workspace", "worse"])
    assert raised.value.code == (
        f"error: workspace: {LOGITS} has the answers of another network than this run's, which was "
        "never tested; run `dvc repro -f -s evaluate` there"
    )


def test_a_folder_without_a_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^error: workspace: data/test.bin is not there; run `dv"):
        main(["workspace", "HEAD"])


def test_a_figure_that_cannot_be_written_hides_no_number(
    runs: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SystemExit, match=r"^error: .*c\.png: cannot be written \("):
        main(["worse", "better", "--out", str(tmp_path / "file/c.png")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("worse       50 of 60 right")
    assert lines[-1].startswith("only better is right on 8 images")


def test_a_figure_is_a_png(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    """`--json --out runs.json` would have replaced a table by a picture."""
    monkeypatch.chdir(runs)
    with pytest.raises(SystemExit):
        main(["worse", "better", "--json", "--out", "dvc.lock"])
    assert "argument --out: dvc.lock does not end in .png" in capsys.readouterr().err
    assert (runs / "dvc.lock").read_text().startswith("schema:")


def test_ctrl_c_while_it_loads_ends_it_quietly(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("src.compare.runs.read_at", interrupted)
    with pytest.raises(SystemExit) as raised:
        main([])
    assert raised.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_nothing_heavy_loads_where_ctrl_c_is_not_caught() -> None:
    run(
        ROOT, sys.executable, "-c",
        "import sys, src.compare.command; "
        "assert not {'torch', 'numpy', 'matplotlib', 'dvc'} & set(sys.modules)",
    )  # fmt: skip


def test_a_class_whose_name_would_break_the_line_does_not() -> None:
    rows = [Changed(0, "a\x1b[2J", "a\x1b[2J", 0.9, "b\u2028c", 0.1)]
    line = side_line("HEAD", "faster", rows)
    assert line.isprintable()
    assert line.endswith(r"where faster takes a\x1b[2J for b\u2028c 1")


@pytest.mark.parametrize(("p", "word"), [(0.05, "may be chance"), (0.0499, "seldom does this")])
def test_a_difference_is_noise_from_5_per_cent_on(p: float, word: str) -> None:
    assert word in verdict(p)


@pytest.mark.slow
def test_an_experiment_is_compared_with_the_commit_before(clone: Path) -> None:
    """Both are real runs; the counts are those of the tables that evaluate wrote for them."""
    answers: dict[str, Any] = {"HEAD": read_csv(clone / "plots/confusion.csv", "")}
    run(clone, "dvc", "exp", "run", "-n", "faster", "-S", "train.lr=0.05")
    answers["faster"] = read_csv(clone / "plots/confusion.csv", "")
    metrics = json.loads((clone / "metrics/evaluate.json").read_text())
    run(clone, "git", "checkout", "HEAD", "--", "params.yaml", "dvc.lock", "metrics")
    run(clone, "dvc", "checkout")
    found = json.loads(
        run(clone, sys.executable, "-m", "src.compare", "HEAD", "faster", "--json").stdout
    )
    right = {k: [r["actual"] == r["predicted"] for r in rows] for k, rows in answers.items()}
    pairs = list(zip(right["HEAD"], right["faster"], strict=True))
    cells = {"both": (1, 1), "only_a": (1, 0), "only_b": (0, 1), "neither": (0, 0)}
    assert {k: found[k] for k in cells} == {k: pairs.count(cell) for k, cell in cells.items()}
    assert found["b"]["top1"] == metrics["top1"]
    changed = {row["image"]: row for row in found["changed"]}
    assert set(changed) == {i for i, (a, b) in enumerate(pairs) if a != b}
    for image, row in changed.items():
        assert row["said_b"] == answers["faster"][image]["predicted"]
    assert run(clone, "git", "status", "--porcelain").stdout == ""
