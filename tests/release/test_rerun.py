"""What `make verify` and `make rounding` compute anew, and what they say of this machine."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from release import machine
from release.figures import record
from release.outputs import OUTPUTS, shipped
from release.rerun import clone, difference, differing_machine, run_stage, take_outputs
from src.pipeline.errors import InputError
from tests.conftest import ROOT, run


def test_what_decides_the_last_bits_is_named(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = record(done)
    device, precision = torch.device(result["device"]), result["precision"]
    monkeypatch.setattr(machine, "start", lambda precision, **_: (device, precision))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as start has it
    assert differing_machine(result, precision) == []
    switches = {**result["switches"], "ATEN_CPU_CAPABILITY": "avx2"}
    assert differing_machine(result | {"torch": "1.0", "switches": switches}, precision) == [
        f"torch {torch.__version__} for 1.0",
        f"switches {result['switches']} for {switches}",
    ]
    if device.type == "cpu":
        able = f"{result['capabilities']} avx1024"
        assert differing_machine(result | {"capabilities": able}, precision) == [
            "the CPU lacks avx1024"
        ]


def test_instruction_sets_are_named_before_names_and_sizes() -> None:
    here, published = "avx2 cpu_name=AMD EPYC l2=1", "amx avx512 cpu_name=Intel Core i7-13700 l2=2"
    assert difference("capabilities", here, published) == "the CPU lacks amx, avx512 and has avx2"
    assert difference("capabilities", "avx2 l2=1", "avx2 l2=2") == (
        "the CPU has avx2 l2=1 for avx2 l2=2"
    )


def test_without_a_temporary_folder_it_says_which_to_name(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(InputError, match="set TMPDIR to a folder of yours"), clone(published, "a"):
        pass


def test_a_commit_that_is_not_there_is_named(published: Path) -> None:
    with pytest.raises(SystemExit, match="lacks commit 0000000"), clone(published, 40 * "0"):
        pass
    with pytest.raises(InputError, match="not a git repository"), clone(Path("/"), 40 * "0"):
        pass
    head = run(published, "git", "rev-parse", "HEAD").stdout.strip()
    with clone(published, head) as project:
        assert yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert not project.exists()


WAIT = """
import signal, sys, time
from pathlib import Path
from release.rerun import clone
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as under nohup it would not be
with clone(Path(sys.argv[1]), sys.argv[2]) as project:
    print(project, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_folder_behind(number: signal.Signals, published: Path) -> None:
    head = run(published, "git", "rev-parse", "HEAD").stdout.strip()
    words = [sys.executable, "-c", WAIT, str(published), head]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout
        project = Path(waiting.stdout.readline().strip())
        assert (project / "dvc.lock").exists()
        waiting.send_signal(number)
        assert waiting.wait(60) == 128 + number
    assert not project.parent.exists()


def test_a_stage_that_writes_nothing_is_not_taken_for_the_published_one(own: Path) -> None:
    """Its clone has the published metrics, by git, and the published outputs."""
    (own / "stages/evaluate.py").write_text("")
    assert (own / "metrics/evaluate.json").exists()
    with pytest.raises(InputError, match=r"metrics/evaluate\.json: cannot be read"):
        run_stage(own, "evaluate")
    assert not (own / "plots/confusion.csv").exists()


def test_outputs_of_another_run_are_not_pulled(own: Path, published: Path) -> None:
    lock = own / "dvc.lock"
    lock.write_text(lock.read_text().replace(shipped(own)["plots/model.txt"], 32 * "f"))
    with pytest.raises(SystemExit, match=r"has not the outputs of the run that docs/result\.yaml"):
        take_outputs(own, published / OUTPUTS)
