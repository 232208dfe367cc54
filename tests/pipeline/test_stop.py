"""Stops: a second signal, a parent that has died."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from src.pipeline.stop import Stopped, StopRequest
from tests.conftest import ROOT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time that a StopRequest sees; Ctrl-C is what it is at a terminal."""
    # A shell lets its background jobs ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    now = [100.0]
    monkeypatch.setattr("src.pipeline.stop.time.monotonic", lambda: now[0])
    yield now
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_it_at_once(clock: list[float]) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == signal.SIGINT
        clock[0] += 1.1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_to_the_process_and_to_its_group_is_one_request(clock: list[float]) -> None:
    """`timeout` sends both; the checkpoint must be written all the same."""
    with StopRequest() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            clock[0] += 0.3
        with pytest.raises(Stopped, match="stopped by SIGINT"):
            stop.check()


def test_a_parent_that_died_during_start_up_is_missed(tmp_path: Path) -> None:
    """dvc may be killed while the stage still reads its data."""
    child = """if True:
        import os, sys, time
        from pathlib import Path
        from src.pipeline.stop import PARENT, Stopped, StopRequest
        print("imported", flush=True)
        while os.getppid() == PARENT:
            time.sleep(0.01)
        try:
            with StopRequest() as stop:
                stop.check()
        except Stopped as stopped:
            Path(sys.argv[1]).write_text(stopped.reason)
    """
    parent = """if True:
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdout=subprocess.PIPE)
        child.stdout.readline()
    """
    said = tmp_path / "said"
    command = [sys.executable, "-c", parent, child, str(said)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "DVC_STAGE": "train"})
    deadline = time.monotonic() + 30
    while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert said.read_text() == "stopped because the dvc that started it has ended"


@pytest.mark.parametrize("waits", [False, True])
def test_a_stage_ends_with_its_dvc(waits: bool, tmp_path: Path) -> None:
    """It would write over the next run's results. A training ends by itself, with a checkpoint."""
    child = f"""if True:
        import os, sys, time
        from contextlib import nullcontext
        from pathlib import Path
        from src.pipeline.stop import StopRequest, end_with_dvc
        end_with_dvc("evaluate")
        with StopRequest() if {waits} else nullcontext():
            print("begun", flush=True)
            time.sleep({3 if waits else 60})
            Path(sys.argv[1]).write_text("results of a run that nobody waits for")
            os._exit(0)
    """
    sentence = "evaluate: stopped because the dvc that started it has ended; nothing is recorded\n"
    results = ("results of a run that nobody waits for", "")
    assert after_its_parent(child, tmp_path) == (results if waits else ("", sentence))


def test_a_training_on_its_way_out_is_not_cut_off(tmp_path: Path) -> None:
    """It takes a while to end its loader's processes, and says itself that it has stopped."""
    child = """if True:
        import os, sys, time
        from pathlib import Path
        from src.pipeline.stop import PARENT, Stopped, StopRequest, end_with_dvc
        end_with_dvc("train")
        try:
            with StopRequest() as stop:
                print("begun", flush=True)
                while os.getppid() == PARENT:
                    time.sleep(0.01)
                stop.check()
        except Stopped:
            time.sleep(1.5)
            Path(sys.argv[1]).write_text("ended by itself")
            os._exit(1)
    """
    assert after_its_parent(child, tmp_path) == ("ended by itself", "")


def after_its_parent(child: str, folder: Path) -> tuple[str, str]:
    """What a child of a dvc that dies wrote into the file of its argument, and said on stderr."""
    parent = """if True:
        import subprocess, sys
        with open(sys.argv[3], "wb") as err:
            child = subprocess.Popen(
                [sys.executable, "-c", *sys.argv[1:3]], stdout=subprocess.PIPE, stderr=err
            )
        child.stdout.readline()
        print(child.pid)
    """
    written, said = folder / "written", folder / "said"
    command = [sys.executable, "-c", parent, child, str(written), str(said)]
    env = {**os.environ, "DVC_STAGE": "any"}
    pid = int(subprocess.run(command, cwd=ROOT, check=True, env=env, stdout=subprocess.PIPE).stdout)
    deadline = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)
    return written.read_text() if written.exists() else "", said.read_text()


def is_running(pid: int) -> bool:
    """A process that has ended may stay as a zombie where nobody asks for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_stage_started_by_hand_outlives_its_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under nohup: there is no dvc that waits for its result."""
    monkeypatch.setattr("src.pipeline.stop.PARENT", -1)
    for by_dvc in (False, True):
        monkeypatch.setattr("src.pipeline.stop.BY_DVC", by_dvc)
        with StopRequest() as stop, pytest.raises(Stopped) if by_dvc else nullcontext():
            stop.check()
