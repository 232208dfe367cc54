"""How a stage ends when somebody has enough of it."""

import sys
from pathlib import Path

import pytest

from src.pipeline.stage import how_to_go_on
from tests.conftest import run

STAGE = """
from src.pipeline.stage import run_stage

def main(params, inputs):
    raise KeyboardInterrupt

run_stage("download", main)
"""


def test_ctrl_c_ends_a_stage_without_a_traceback(done: Path) -> None:
    ended = run(done, sys.executable, "-c", STAGE, check=False, PYTHONPATH=".")
    assert ended.returncode == 130
    assert ended.stderr == "download: interrupted; nothing is recorded\n"


def test_a_stage_whose_reader_has_gone_ends_without_a_traceback(done: Path) -> None:
    """As `dvc repro | head -1` does."""
    code = STAGE.replace("raise KeyboardInterrupt", "print(1, flush=True)")
    assert code != STAGE
    shell = 'exec "$0" -c "$1" | true; exit "${PIPESTATUS[0]}"'
    words = ("bash", "-c", shell, sys.executable, code)
    ended = run(done, *words, check=False, PYTHONPATH=".")
    assert (ended.returncode, ended.stderr) == (141, "")
    shell = 'exec "$0" -c "$1" > /dev/full'
    ended = run(done, "bash", "-c", shell, sys.executable, code, check=False, PYTHONPATH=".")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error in download: stdout cannot be written (No space left")


def test_what_goes_on_after_a_stop_is_said_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESUME", raising=False)
    assert how_to_go_on() == "run the same command again to go on"
    monkeypatch.setenv("RESUME", "0")
    assert how_to_go_on() == "without RESUME=0, run it again to go on"
    # Where dvc exp run --temp and --queue have their copies.
    temporary = tmp_path / ".dvc/tmp/exps/tmpabc/demo"
    temporary.mkdir(parents=True)
    monkeypatch.chdir(temporary)
    assert how_to_go_on().startswith("DVC removes this folder, and the state with it")
