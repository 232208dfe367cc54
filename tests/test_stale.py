"""No result is stale: a stage reads what dvc.yaml names, and fails if that changes meanwhile."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from pydantic import BaseModel

from src.pipeline import stage
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from tests.conftest import ROOT, leaves, run, tiny_values, write_params

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# A stage reads these only when another value asks for them.
SOMETIMES = {
    "train.plateau.factor", "train.plateau.patience", "train.plateau.cooldown",
    "train.one_cycle.warmup", "train.one_cycle.start_factor", "train.one_cycle.end_factor",
    "train.cyclic.base_lr", "train.cyclic.period_epochs", "lr_find.linear.start_lr",
    "lr_find.linear.end_lr", "lr_find.linear.val_images",
    "data.shapes.train", "data.shapes.test", "data.shapes.seed",
    "data.folder", "data.test_share", "data.unreadable", "train.mix.alpha",
}  # fmt: skip
# What computes nothing, and commands that read results.
NO_RESULT = ("src/pipeline/", "src/compare/", "src/predict/", "src/app/")


def within(name: str, listed: list[str], mark: str) -> bool:
    """Whether the list names a file or a parameter, or its folder or section."""
    return any(name == each or name.startswith(each + mark) for each in listed)


def changed_stages(folder: Path) -> set[str]:
    with Repo(str(folder)) as repo:
        # Called from outside the repository, DVC puts the path of dvc.yaml before the name.
        return {name.rsplit(":")[-1] for name in repo.status()}


@pytest.mark.slow
def test_a_line_in_a_module_concerns_the_stages_that_use_it(clone: Path) -> None:
    modules = [p for p in clone.glob("src/**/*.py") if p.name != "__init__.py"]
    for path in [*modules, *clone.glob("stages/[a-z]*.py")]:
        text, name = path.read_text(), str(path.relative_to(clone))
        path.write_text(text + "# a line\n")
        expected = {key for key, stage in STAGES.items() if within(name, stage["deps"], "/")}
        assert bool(expected) != name.startswith(NO_RESULT)
        assert changed_stages(clone) == expected, name
        path.write_text(text)
    assert changed_stages(clone) == set()


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, "more"] if isinstance(value, list) else "another"


@pytest.mark.slow
def test_a_value_concerns_the_stages_that_list_it(clone: Path) -> None:
    for key in leaves(tiny_values()):
        values = tiny_values()
        section, last = values, key.split(".")[-1]
        for part in key.split(".")[:-1]:
            section = section[part]
        section[last] = other(section[last])
        write_params(clone, values)
        expected = {name for name, stage in STAGES.items() if within(key, stage["params"], ".")}
        assert expected
        assert changed_stages(clone) == expected, key


class Recorder:
    """Parameters that note which of their leaves are read."""

    def __init__(self, model: BaseModel, seen: set[str], prefix: str = "") -> None:
        # These names must differ from those of the parameters' sections.
        self.__dict__.update(recorded=model, seen=seen, prefix=prefix)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.recorded, name)
        path = f"{self.prefix}.{name}".lstrip(".")
        if isinstance(value, BaseModel):
            return Recorder(value, self.seen, path)
        self.seen.add(path)
        return value


@contextmanager
def opened(folder: Path) -> Iterator[tuple[set[str], list[object]]]:
    """Relative paths of the files in `folder` that are opened for reading inside the block, and the
    addresses that a socket connects to or listens on."""
    seen: set[str] = set()
    asked: list[object] = []
    active = True

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        # A hook cannot be removed.
        if active and event in {"socket.connect", "socket.bind"}:
            asked.append(arguments[1])
        if active and event == "open" and isinstance(arguments[0], str):
            path = Path(arguments[0]).absolute()
            if arguments[2] & os.O_ACCMODE == os.O_RDONLY and path.is_relative_to(folder):
                seen.add(str(path.relative_to(folder)))

    sys.addaudithook(note)
    try:
        yield seen, asked
    finally:
        active = False


@pytest.mark.slow
def test_a_stage_reads_the_files_and_values_it_lists(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone)
    params = Params.model_validate(tiny_values())
    for name, definition in STAGES.items():
        seen: set[str] = set()
        module = import_module(f"stages.{name}")
        inputs = stage.read_inputs(name)
        # check_unchanged hashes all that is listed, which would count as reading.
        monkeypatch.setattr(module, "check_unchanged", lambda *_: None, raising=False)
        with opened(clone) as (files, asked):
            module.main(Recorder(params, seen), inputs)
        # The sample is drawn, so download asks nobody here either.
        assert not asked, name
        listed = {key for key in leaves(tiny_values()) if within(key, definition["params"], ".")}
        assert seen <= listed, name
        assert listed - seen <= SOMETIMES, name
        read = {
            path for path in files if path.startswith(("data/", "metrics/", "models/", "plots/"))
        }
        deps = {
            path for path in definition["deps"] if not path.startswith(("src/", "stages/", "$"))
        }
        # train reads the weights that it has just written, for the digest that DVC will record.
        assert read - set(definition["outs"]) == deps, name
        # No choice may use the test set.
        assert name in {"evaluate", "gradcam"} or "data/test.bin" not in files
    capsys.readouterr()


def test_a_folder_that_a_parameter_names_is_read(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As DVC does, which puts the parameter's value in its place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my cats").mkdir()
    (tmp_path / "my cats/one.png").write_text("a picture")
    definition = {"stages": {"download": {"deps": ["${data.folder}"], "params": ["data.folder"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(definition))
    values["data"]["folder"] = "my cats"
    write_params(tmp_path, values)
    before = stage.read_inputs("download")
    assert before.keys() == {"my cats/one.png", "params.yaml: data.folder"}
    (tmp_path / "my cats/two.png").write_text("another")
    with pytest.raises(InputError, match=r"it ran: my cats/two\.png;"):
        stage.check_unchanged("download", before)
    # YAML 1.1 would take it for true; DVC and the stages do not.
    (tmp_path / "my cats").rename(tmp_path / "on")
    (tmp_path / "params.yaml").write_text("data: {folder: on}\n")
    assert "on/one.png" in stage.read_inputs("download")
    del values["data"]["folder"]
    write_params(tmp_path, values)
    with pytest.raises(InputError, match=r"cannot be read \('folder'\)"):
        stage.read_inputs("download")


def test_an_input_that_changes_is_named(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("a = 1\n")
    definition = {"stages": {"train": {"deps": ["code.py"], "params": ["train.lr", "augment"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(definition))
    write_params(tmp_path, values)
    before = stage.read_inputs("train")
    stage.check_unchanged("train", before)
    values["train"]["epochs"] += 1
    write_params(tmp_path, values)
    stage.check_unchanged("train", before)
    values["train"]["lr"] = 0.5
    write_params(tmp_path, values)
    (tmp_path / "code.py").write_text("a = 2\n")
    with pytest.raises(InputError, match=r"it ran: code\.py, params\.yaml: train\.lr"):
        stage.check_unchanged("train", before)
    (tmp_path / "code.py").unlink()
    with pytest.raises(InputError, match=r"code\.py"):
        stage.check_unchanged("train", before)


@pytest.mark.parametrize(
    "text", ["train: [", "train: {}", "", "train: 3", "a: 2025-99-99", "[" * 9999]
)
def test_params_left_half_edited_are_named(
    text: str, tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    definition = {"stages": {"train": {"deps": [], "params": ["train.lr"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(definition))
    write_params(tmp_path, values)
    before = stage.read_inputs("train")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"^params\.yaml, .* cannot be read") as raised:
        stage.check_unchanged("train", before)
    assert "\n" not in str(raised.value)


def test_a_package_is_read_as_dvc_reads_it(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of the folder counts, except those in .dvcignore, and each change is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code/inner/__pycache__").mkdir(parents=True)
    (tmp_path / "code/one.py").write_text("a = 1\n")
    (tmp_path / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    definition = {"stages": {"train": {"deps": ["code"], "params": ["train"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(definition))
    write_params(tmp_path, values)
    before = stage.read_inputs("train")
    for name in ("__pycache__/x.pyc", ".two.py.swp", "two.py~", ".DS_Store"):
        (tmp_path / "code/inner" / name).write_text("not code")
    assert stage.read_inputs("train") == before
    (tmp_path / "code/inner/two.py").write_text("b = 1\n")
    values["train"]["plateau"]["factor"] = 0.9
    write_params(tmp_path, values)
    named = r"it ran: code/inner/two\.py, params\.yaml: train\.plateau\.factor;"
    with pytest.raises(InputError, match=named):
        stage.check_unchanged("train", before)


def test_what_dvc_ignores_makes_no_stage_run_again(clone: Path) -> None:
    """A file that an editor leaves beside the code does not cause a new training."""
    for name in (".step.py.swp", "step.py~", ".DS_Store"):
        (clone / "src/training" / name).write_text("not code")
    assert changed_stages(clone) == set()


@pytest.mark.parametrize("name", ["download", "lr_find", "train", "evaluate", "gradcam"])
def test_every_stage_ends_with_a_sentence(
    name: str, tmp_path: Path, values: dict[str, Any]
) -> None:
    """Each is run by run_stage, which also refuses an input that changed."""
    write_params(tmp_path, {**values, "seed": "x"})
    command = sys.executable, "-m", f"stages.{name}"
    ended = run(tmp_path, *command, check=False, PYTHONPATH=str(ROOT))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error in {name}: seed: 'x' is not")


def test_a_stage_fails_where_its_input_changed(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("a = 1\n")
    definition = {"stages": {"evaluate": {"deps": ["code.py"], "params": []}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(definition))
    write_params(tmp_path, values)
    stage.run_stage("evaluate", lambda *_: None)
    written = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(written, "latin-1"))
        stage.run_stage("evaluate", lambda *_: print("Käfer 犬", flush=True))
        assert written.getvalue() == "Käfer \\u72ac\n".encode("latin-1")
    with pytest.raises(SystemExit, match=r"^error in evaluate: changed while it ran: code\.py;"):
        stage.run_stage("evaluate", lambda *_: (tmp_path / "code.py").write_text("a = 2\n"))


@pytest.mark.slow
def test_code_edited_during_training_fails_the_stage(clone: Path) -> None:
    """dvc.lock does not record the new code for the weights; if it is undone, training goes on."""
    values = tiny_values()
    values["train"] |= {"epochs": 4}
    write_params(clone, values)
    code = (clone / "src/training/schedule.py").read_text()
    (clone / "plots/training.csv").unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "train"], cwd=clone,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "CHECKPOINT_SECONDS": "0.2"},
    )  # fmt: skip
    while process.poll() is None and not (clone / "plots/training.csv").exists():
        time.sleep(0.05)
    with open(clone / "src/training/schedule.py", "a") as file:
        file.write("# edited\n")
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "error in train: changed while it ran: src/training/schedule.py" in output
    assert "train" in changed_stages(clone)
    assert not (clone / "models/model.safetensors").exists()
    assert not (clone / "metrics/train.json").exists()
    (clone / "src/training/schedule.py").write_text(code)
    again = run(clone, "dvc", "repro", "train").stdout
    assert "Running stage 'train'" in again
    assert "going on from step" in again
    assert "train" not in changed_stages(clone)
