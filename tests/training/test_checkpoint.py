"""The resume state: found only by its own run, refused when damaged, one trainer at a time."""

import errno
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.pipeline.errors import InputError
from src.training.checkpoint import Checkpoint, fingerprint, only_trainer

STATE = ({"weight": torch.arange(4.0)}, {"step": 7, "rate": 0.1 + 0.2})


def test_a_state_comes_back_exactly(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "run", 60).save(STATE)
    tensors, values = Checkpoint(tmp_path, "run", 60).load() or ({}, {})
    assert torch.equal(tensors["weight"], STATE[0]["weight"])
    assert values == STATE[1]


def test_another_run_does_not_see_it(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "run", 60).save(STATE)
    assert Checkpoint(tmp_path, "other", 60).load() is None


def test_removed_on_success_and_by_resume_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path, "run", 60)
    checkpoint.save(STATE)
    checkpoint.remove()
    assert checkpoint.load() is None
    checkpoint.save(STATE)
    monkeypatch.setenv("RESUME", "0")
    assert checkpoint.load() is None
    assert not checkpoint.path.exists()


def test_due_when_its_seconds_have_passed(tmp_path: Path) -> None:
    assert not Checkpoint(tmp_path, "run", 3600).due()
    checkpoint = Checkpoint(tmp_path, "run", 1e-9)
    assert checkpoint.due()
    checkpoint.seconds = 3600
    checkpoint.save(STATE)
    assert not checkpoint.due()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch code-ran",)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "pickle"])
def test_damage_is_named_and_runs_no_code(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(tmp_path, "run", 60)
    checkpoint.save(STATE)
    content = bytearray(checkpoint.path.read_bytes())
    content[-3] ^= 4
    whole = checkpoint.path.read_bytes()
    wrong = {
        "truncated": whole[:-1],
        "flipped": content,
        "empty": b"",
        "pickle": pickle.dumps(Evil()),
    }
    checkpoint.path.write_bytes(wrong[damage])
    with pytest.raises(InputError, match=r"run\.safetensors: is damaged.*RESUME=0 dvc repro"):
        checkpoint.load()
    assert not (tmp_path / "code-ran").exists()


def test_the_fingerprint_covers_every_value() -> None:
    one = {"lr": 0.1, "src/training/fit.py": "abc", "precision": "bf16"}
    names = {fingerprint({**one, key: "another"}) for key in one} | {fingerprint(one)}
    assert len(names) == 4
    assert fingerprint(one) == fingerprint(dict(reversed(one.items())))


def test_one_trainer_at_a_time(tmp_path: Path) -> None:
    with only_trainer(tmp_path), pytest.raises(InputError, match="another training is running"):  # noqa: SIM117
        with only_trainer(tmp_path):
            pass
    with only_trainer(tmp_path):
        pass


def test_the_lock_goes_with_the_trainer_though_its_workers_live_on(tmp_path: Path) -> None:
    """A forked worker has the trainer's open files, and may outlive it by seconds."""
    code = """if True:
        import os, sys, time
        from pathlib import Path
        from src.training.checkpoint import only_trainer
        with only_trainer(Path(sys.argv[1])):
            if os.fork() == 0:
                print("forked", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(InputError, match="another training is running"):  # noqa: SIM117
            with only_trainer(tmp_path):
                pass
        process.kill()
        process.wait()
        with only_trainer(tmp_path):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match=r"cannot be locked \(No locks available\)"):  # noqa: SIM117
        with only_trainer(tmp_path):
            pass
