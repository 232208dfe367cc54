"""After a kill at any moment, training ends with the weights of an uninterrupted run.

Real signals kill the real stage in a real process, at moments whose seed is printed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from src.data.tensors import load_tensors
from src.network import resnet
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from src.pipeline.stage import read_inputs
from stages.train import main as train
from tests.conftest import make_project, run, tiny_values, write_params

SEED = int(os.environ.get("RESUME_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
RESULTS = [
    "models/model.safetensors",
    "metrics/train.json",
    "plots/training.csv",
    "plots/model.txt",
]


def training_values() -> dict[str, Any]:
    values = tiny_values()
    values["data"]["shapes"] |= {"train": 300}
    # With 40 steps the rounding of some CPUs hides the loss's fall in noise, for one seed in two.
    values["lr_find"]["num_iter"] = 80
    # The mean of the weights is one more thing that a state must hold.
    values["train"] |= {"epochs": 3, "schedule": "plateau", "average": {"decay": 0.9}}
    return values


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has data and a learning rate; nothing is trained yet."""
    folder = make_project(tmp_path_factory.mktemp("resume") / "project", training_values())
    run(folder, "dvc", "repro", "lr_find")
    return folder


COMMAND = [sys.executable, "-u", "-m", "stages.train"]


def fresh(prepared: Path, folder: Path) -> Path:
    shutil.copytree(prepared, folder, symlinks=True)
    return folder


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def uninterrupted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = fresh(prepared, tmp_path_factory.mktemp("whole") / "project")
    run(folder, *COMMAND)
    return results(folder)


def start(folder: Path, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        COMMAND,
        cwd=folder,
        env={**os.environ, "CHECKPOINT_SECONDS": "0.2", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(process: "subprocess.Popen[str]", there: Callable[[], object]) -> None:
    """Wait until `there()` is true or the process has ended."""
    while process.poll() is None and not there():
        time.sleep(0.01)


def states(folder: Path) -> list[Path]:
    return list((folder / "resume").glob("*.safetensors"))


def written(folder: Path) -> set[tuple[Path, int]]:
    """Each state with the time at which it was written."""
    found = set()
    for path in states(folder):
        with suppress(FileNotFoundError):  # removed meanwhile
            found.add((path, path.stat().st_mtime_ns))
    return found


def kill_once_a_state_is_there(
    folder: Path, number: int, wait_s: float, **env: str
) -> tuple[int, str]:
    """Start training, let it write a state, wait, send the signal; return code and output."""
    process = start(folder, **env)
    deadline = time.monotonic() + 300  # start-up alone can take a minute on a loaded machine
    known = written(folder)
    # A state that goes says nothing: RESUME=0 removes the old one before it trains.
    while process.poll() is None and time.monotonic() < deadline and written(folder) <= known:
        time.sleep(0.01)
    time.sleep(wait_s)
    if process.poll() is None:
        process.send_signal(number)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output + errors


@pytest.mark.parametrize("pipe", ["|", "2>&1 |"])
def test_a_reader_that_goes_loses_no_step(pipe: str, prepared: Path, tmp_path: Path) -> None:
    """As a pager that is quit: the state is that of the last epoch that the table has."""
    folder = fresh(prepared, tmp_path / "project")
    values = training_values()
    values["train"]["epochs"] = 6
    write_params(folder, values)
    shell = f'"$0" -u -m stages.train {pipe} head -1; exit "${{PIPESTATUS[0]}}"'
    ended = run(folder, "bash", "-c", shell, sys.executable, check=False)
    assert ended.returncode == 141
    said = "train: stopped because stdout cannot be written (Broken pipe); run the same command "
    assert ended.stderr == (f"{said}again to go on\n" if pipe == "|" else "")
    (state,) = states(folder)
    _, about = load_tensors(state, "")
    rows = (folder / "plots/training.csv").read_text().splitlines()[1:]
    assert len(about["history"]) == len(rows) > 0
    assert run(folder, *COMMAND).stdout.count(f"going on from step {about['step']} of ") == 1


def test_an_edit_before_the_first_step_is_found_at_once(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after hours; and no state gets the name of inputs that it does not rest on."""
    folder = fresh(prepared, tmp_path / "project")
    monkeypatch.chdir(folder)
    inputs = read_inputs("train")
    build = resnet.build_model

    def build_and_edit(*words: Any) -> Any:
        model = build(*words)
        with (folder / "src/training/step.py").open("a") as file:
            file.write("# edited\n")
        return model

    monkeypatch.setattr(resnet, "build_model", build_and_edit)
    with pytest.raises(InputError, match=r"^changed while it ran: src/training/step\.py; "):
        train(Params.model_validate(training_values()), inputs)
    assert states(folder) == []


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_stopped_in_the_middle(
    number: int, prepared: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    folder = fresh(prepared, tmp_path / "project")
    code, output = kill_once_a_state_is_there(folder, number, 0.1)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert "run the same command again to go on" in output
        assert "Traceback" not in output
    assert len(states(folder)) == 1
    output = run(folder, *COMMAND).stdout
    assert "going on from step" in output
    assert results(folder) == uninterrupted
    # Its final state stays until DVC has recorded the result.
    assert len(states(folder)) == 1


@pytest.mark.slow
def test_a_signal_to_the_whole_group_is_a_clean_stop(
    prepared: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    """`timeout` signals the whole group, which includes the loader workers."""
    folder = fresh(prepared, tmp_path / "project")
    process = start(folder, WORKERS="2")
    wait_until(process, lambda: states(folder))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "run the same command again to go on" in errors
    assert "Traceback" not in errors
    run(folder, *COMMAND)
    assert results(folder) == uninterrupted


@pytest.mark.slow
def test_killed_again_and_again(
    prepared: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    """It is killed at random moments, also while it writes a state; workers differ each time."""
    print(f"RESUME_SEED={SEED}")
    moments = random.Random(SEED)
    folder = fresh(prepared, tmp_path / "project")
    killed = 0
    for workers in ("0", "2", "1", "3"):
        before = states(folder)
        # Writing a state takes about 0.2 s here, and a state is due every 0.2 s.
        wait_s = moments.random() * 0.5
        code, output = kill_once_a_state_is_there(folder, signal.SIGKILL, wait_s, WORKERS=workers)
        assert ("going on from step" in output) == bool(before)
        killed += code == -signal.SIGKILL
    assert killed
    run(folder, *COMMAND, WORKERS="2")
    assert results(folder) == uninterrupted
    assert not list((folder / "resume").glob("*tmp"))


@pytest.mark.slow
def test_killed_before_the_first_state(
    prepared: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    folder = fresh(prepared, tmp_path / "project")
    process = start(folder, CHECKPOINT_SECONDS="3600")
    # Training writes this file when it begins.
    wait_until(process, (folder / "logs/train.jsonl").exists)
    process.kill()
    process.communicate()
    assert not states(folder)
    assert "going on" not in run(folder, *COMMAND).stdout
    assert results(folder) == uninterrupted


@pytest.mark.slow
def test_interrupted_dvc_repro_goes_on(
    prepared: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    """A user presses Ctrl-C in `dvc repro`, then runs `dvc repro` again."""
    folder = fresh(prepared, tmp_path / "project")
    process = subprocess.Popen(
        ["dvc", "repro", "train"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True, env={**os.environ, "CHECKPOINT_SECONDS": "0.2"},
    )  # fmt: skip
    wait_until(process, lambda: states(folder))
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "run the same command again to go on" in output
    again = run(folder, "dvc", "repro", "train").stdout
    assert "going on from step" in again
    assert results(folder) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_an_orphan_notices_and_saves(shell: str, prepared: Path, tmp_path: Path) -> None:
    """A killed dvc cannot tell its child, which must not train on for hours."""
    folder = fresh(prepared, tmp_path / "project")
    values = training_values()
    values["train"] |= {"epochs": 1000}
    write_params(folder, values)
    process = subprocess.Popen(
        ["dvc", "repro", "train"], cwd=folder,
        env={**os.environ, "SHELL": shell, "CHECKPOINT_SECONDS": "3600"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    # The first epoch writes it; an orphan that has not begun to train has nothing to save.
    wait_until(process, (folder / "plots/training.csv").exists)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 120
    while (lock_is_held(folder) or not states(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not lock_is_held(folder)
    # No state was due, so the orphan itself wrote this one.
    assert len(states(folder)) == 1


def lock_is_held(folder: Path) -> bool:
    code = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    probe = [sys.executable, "-c", code, str(folder / "resume/lock")]
    return subprocess.run(probe, capture_output=True, check=False).returncode != 0


@pytest.fixture
def interrupted(prepared: Path, tmp_path: Path) -> Path:
    folder = fresh(prepared, tmp_path / "project")
    kill_once_a_state_is_there(folder, signal.SIGKILL, 0.05)
    assert states(folder)
    return folder


@pytest.mark.slow
def test_a_result_that_dvc_cannot_record_is_not_trained_again(
    prepared: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    """As with a full disk for its cache; recorded at last, `-f` trains afresh."""
    folder = fresh(prepared, tmp_path / "project")
    process = subprocess.Popen(
        ["dvc", "repro", "train"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    wait_until(process, (folder / "logs/train.jsonl").exists)
    # DVC has read its cache. With a file in the cache's place it can store nothing there.
    cache, aside = folder / ".dvc/cache", folder / ".dvc/aside"
    cache.rename(aside)
    cache.write_text("")
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "epoch   3/3" in output
    cache.unlink()
    aside.rename(cache)
    again = run(folder, "dvc", "repro", "train").stdout
    assert "going on from step" in again
    assert "epoch" not in again.replace("train.epochs", "")
    assert results(folder) == uninterrupted
    forced = run(folder, "dvc", "repro", "-f", "-s", "train").stdout
    assert "is removed: dvc.lock has its result" in forced
    assert "epoch   1/3" in forced
    assert results(folder) == uninterrupted


@pytest.mark.slow
def test_a_training_of_more_epochs_goes_on(prepared: Path, tmp_path: Path) -> None:
    """With plateau at one size, two epochs and then four give what four give from the start."""
    parts, whole = (fresh(prepared, tmp_path / name) for name in ("parts", "whole"))
    outputs = []
    for folder, epochs in ((parts, 2), (parts, 4), (whole, 4)):
        values = training_values()
        values["train"] |= {"resolution": [32], "epochs": epochs}
        write_params(folder, values)
        outputs.append(run(folder, *COMMAND).stdout)
    assert ["going on from step" in output for output in outputs] == [False, True, False]
    assert results(parts) == results(whole)


@pytest.mark.slow
def test_resume_0_trains_afresh(interrupted: Path, uninterrupted: dict[str, bytes]) -> None:
    output = run(interrupted, *COMMAND, RESUME="0").stdout
    assert "going on" not in output
    assert results(interrupted) == uninterrupted


@pytest.mark.slow
def test_resume_0_that_is_stopped_goes_on_without_it(
    interrupted: Path, uninterrupted: dict[str, bytes]
) -> None:
    _, output = kill_once_a_state_is_there(interrupted, signal.SIGTERM, 0.05, RESUME="0")
    assert "going on" not in output
    assert "stopped by SIGTERM; without RESUME=0, run it again to go on" in output
    assert "going on" in run(interrupted, *COMMAND).stdout
    assert results(interrupted) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["parameter", "code", "data", "threads", "processor"])
def test_a_state_of_another_run_is_not_used(changed: str, interrupted: Path) -> None:
    (state,) = states(interrupted)
    machine = {"THREADS": str(torch.get_num_threads() + (changed == "threads"))}
    if changed == "processor":
        # This makes torch take its kernels for any x86 processor, as on an old one.
        machine["ATEN_CPU_CAPABILITY"] = "default"
    if changed == "parameter":
        values = training_values()
        values["train"]["lr"] = 0.03
        write_params(interrupted, values)
    elif changed == "code":
        with open(interrupted / "src/training/step.py", "a") as file:
            file.write("\n# another line\n")
    elif changed == "data":
        values = training_values()
        values["data"]["shapes"]["seed"] = 5
        write_params(interrupted, values)
        run(interrupted, "dvc", "repro", "download")
    assert "going on" not in run(interrupted, *COMMAND, **machine).stdout
    assert state.exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped", "malicious"])
def test_a_damaged_state_is_refused(damage: str, interrupted: Path) -> None:
    (state,) = states(interrupted)
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    witness = interrupted / "code-ran"
    malicious = f"cos\nsystem\n(S'touch {witness}'\ntR.".encode()
    state.write_bytes(content if damage == "flipped" else malicious)
    result = run(interrupted, *COMMAND, check=False)
    assert result.returncode == 1
    assert f"error in train: resume/{state.name}: is damaged" in result.stderr
    assert "RESUME=0 dvc repro" in result.stderr
    assert "Traceback" not in result.stderr
    assert not witness.exists()


@pytest.mark.slow
def test_two_trainers_never_share_the_folder(prepared: Path, tmp_path: Path) -> None:
    folder = fresh(prepared, tmp_path / "project")
    values = training_values()
    values["train"]["epochs"] = 1000
    write_params(folder, values)
    first = start(folder)
    wait_until(first, lambda: states(folder))
    (folder / "plots/model.txt").unlink()
    second = run(folder, *COMMAND, check=False)
    first.kill()
    first.communicate()
    assert not (folder / "plots/model.txt").exists(), "a refused training must write nothing"
    assert second.returncode == 1
    assert "error in train: resume: another training is running here" in second.stderr
