"""Every writer: the whole file or the old one, a sentence, and nothing left behind."""

import ast
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from src.data.tensors import save_tensors
from src.figures.training import draw_training
from src.network.resnet import build_model
from src.network.weights import save_weights
from src.pipeline import files
from src.pipeline.errors import InputError
from src.pipeline.files import append_json_line, write_bytes, write_csv, write_json
from tests.conftest import ROOT, run

HISTORY = [{"epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_accuracy": 0.5}]
WRITERS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: write_bytes(path, b"new"),
    "json": lambda path: write_json(path, {"a": 1}),
    "csv": lambda path: write_csv(path, ["a"], [[1]]),
    "tensors": lambda path: save_tensors(path, {"a": torch.zeros(3)}, {}),
    "weights": lambda path: save_weights(path, build_model("resnet18", 10), {}),
    "figure": lambda path: draw_training(path, HISTORY, 0.1, {}),
}


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def denied(*_: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_the_old_file(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(InputError, match=r"file: cannot be written \(No space left on device\)"):
        WRITERS[writer](path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_another_user_s_killed_writer_left_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here root runs the tests, who may open any file."""
    left, open_file = tmp_path / ".file.tmp", os.open

    def refuse(name: str, flags: int, mode: int = 0o777) -> int:
        if Path(name) == left and left.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_file(name, flags, mode)

    left.write_bytes(b"half")
    monkeypatch.setattr(files.os, "open", refuse)
    write_bytes(tmp_path / "file", b"whole")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_where_the_folder_should_be(writer: str, tmp_path: Path) -> None:
    """As a read-only folder, but root may write into those."""
    (tmp_path / "folder").write_bytes(b"")
    with pytest.raises(InputError, match=r"folder/file: cannot be written .*; a file has the name"):
        WRITERS[writer](tmp_path / "folder" / "file")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written .*too long\); choose a shorter name"):
        write_bytes(tmp_path / ("a" * 300), b"new")


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's word stands in for root, who writes into such folders too."""
    if os.geteuid() == 0:
        monkeypatch.setattr(files.os, "open", denied)
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\); "):
        write_bytes(tmp_path / "file", b"new")


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file size limit stands for a full disk: the kernel refuses in the middle of a write."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from src.pipeline.files import write_bytes\n"
        "from src.pipeline.errors import InputError\n"
        "try:\n    write_bytes(Path(sys.argv[1]), bytes(5000))\n"
        "except InputError as error:\n    print(error)\n"
    )
    (tmp_path / "file").write_bytes(b"old")
    result = run(ROOT, sys.executable, "-c", code, str(tmp_path / "file"))
    assert "file: cannot be written (File too large)" in result.stdout
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


WRITER = """
import sys
from pathlib import Path
from src.pipeline.files import whole_file

letters, path = sys.argv[1].encode(), Path(sys.argv[2])
with whole_file(path) as handle:
    handle.write(letters[:3])
    handle.flush()
    print("half", flush=True)
    sys.stdin.readline()
    handle.write(letters[3:])
"""


def opened(process: int) -> list[str]:
    """The paths of the files that a process has open, as far as one can look."""
    paths = []
    for handle in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            paths.append(str(handle.readlink()))
    return paths


def test_two_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    """A name never holds half of one and half of the other."""
    path = tmp_path / "file"

    def writer(letters: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, letters, str(path)]
        return subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    with writer("ABCDEF") as first:
        assert first.stdout
        assert first.stdout.readline() == "half\n"
        with writer("uvwxyz") as second:
            while str(tmp_path / ".file.tmp") not in opened(second.pid):
                assert second.poll() is None
                time.sleep(0.01)
            first.communicate("\n")
            assert path.read_text() == "ABCDEF"
            second.communicate("\n")
    assert path.read_text() == "uvwxyz"
    assert first.returncode == second.returncode == 0
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp").write_bytes(b"much longer than what comes")
    write_bytes(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    write_bytes(tmp_path / (85 * "犬"), b"new")
    assert (tmp_path / (85 * "犬")).read_bytes() == b"new"


@pytest.mark.parametrize("name", [".", "/"])
def test_a_folder_is_no_file(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}: is a folder; name a file$"):
        write_bytes(Path(name), b"new")


def test_a_folder_of_the_same_name_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    said = r"file: cannot be written \(Is a directory\); a folder has this name; name another file"
    with pytest.raises(InputError, match=said):
        write_bytes(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_an_exception_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_midway() -> None:
        with files.whole_file(path) as handle:
            handle.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail_midway()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_never_holds_nan_or_infinity(value: float, tmp_path: Path) -> None:
    for write in (write_json, append_json_line):
        with pytest.raises(ValueError, match="JSON"):
            write(tmp_path / "file.json", {"loss": value})
        assert os.listdir(tmp_path) in ([], ["file.json"])
    assert not (tmp_path / "file.json").exists() or not (tmp_path / "file.json").read_text()


def test_a_line_that_a_full_disk_has_cut_spoils_no_other(tmp_path: Path) -> None:
    log = tmp_path / "logs/train.jsonl"
    append_json_line(log, {"epoch": 1})
    append_json_line(log, {"epoch": 2})
    log.write_bytes(log.read_bytes() + b'{"epo')
    append_json_line(log, {"epoch": 3})
    assert log.read_text() == '{"epoch": 1}\n{"epoch": 2}\n{"epo\n{"epoch": 3}\n'


def test_floats_come_back_exactly(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    write_json(tmp_path / "a.json", {"x": value})
    assert json.loads((tmp_path / "a.json").read_text())["x"] == value
    write_csv(tmp_path / "a.csv", ["x"], [[value]])
    assert files.read_numbers(tmp_path / "a.csv", "") == [{"x": value}]


def test_an_empty_cell_is_no_number(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["x", "y"], [[1, None]])
    assert files.read_numbers(tmp_path / "a.csv", "") == [{"x": 1.0, "y": None}]


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\n1\n", "a,b\n1,2,3\n", "a,b\n1,x\n", "\xff"])
def test_damaged_tables_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.csv: is damaged .*; mend it"):
        files.read_numbers(path, "mend it")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_damaged_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.json: is damaged .*; mend it"):
        files.read_json(path, "mend it")


LOADERS = {
    "pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch.load", "numpy.load",
    "pandas.read_pickle", "eval", "exec", "yaml.load", "yaml.load_all", "yaml.unsafe_load",
    "yaml.full_load", "torch.hub", "torch.jit",
}  # fmt: skip


def used(source: str) -> set[str]:
    """The full names of what a source imports and calls, whatever it calls them."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname or a.name: a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    found = {part for name in names.values() for part in (name, name.split(".")[0])}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            found.add(f"{names.get(first, first)}.{rest}".rstrip("."))
    return found


def test_no_source_can_load_a_pickle() -> None:
    """Nor run text as code: over the project's own sources."""
    folders = ("src", "stages", "recipes", "benchmarks", "demo", "docs", "release", "page")
    sources = [path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py")]
    assert {ROOT / "src/data/tensors.py", ROOT / "recipes/run.py"} <= set(sources)
    for path in sources:
        assert not used(path.read_text()) & LOADERS, path


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from torch import load",
        "import torch\ntorch.load('x')",
        "import numpy as np\nread = np.load",
        "import yaml\nyaml.unsafe_load('')",
        "def f():\n    from yaml import load as safe\n    return safe('')",
        "eval('1')",
    ],
)
def test_a_loader_is_seen_by_any_name(source: str) -> None:
    assert used(source) & LOADERS
