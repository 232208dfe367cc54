"""How a stage ends when somebody has enough of it."""

import sys
from pathlib import Path

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
