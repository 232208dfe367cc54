"""Stops: a second signal, a parent that has died."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.pipeline.stop import StopRequest


def test_a_second_signal_ends_it_at_once() -> None:
    # A shell lets its background jobs ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.received == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


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
    subprocess.run([sys.executable, "-c", parent, child, str(said)], check=True)
    deadline = time.monotonic() + 30
    while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert said.read_text() == "stopped because the process that started it has ended"
