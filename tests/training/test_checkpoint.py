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
from src.pipeline.lock import md5
from src.training.checkpoint import (
    Checkpoint,
    checkpoint_seconds,
    fingerprint,
    known,
    only_trainer,
    without_epochs,
)
from tests.conftest import ROOT
from tests.tiny import DECISIVE, params

STATE = ({"weight": torch.arange(4.0)}, {"step": 7, "rate": 0.1 + 0.2})


def test_a_state_comes_back_exactly(tmp_path: Path) -> None:
    Checkpoint(tmp_path, DECISIVE, 60).save(STATE)
    tensors, values = Checkpoint(tmp_path, DECISIVE, 60).load() or ({}, {})
    assert torch.equal(tensors["weight"], STATE[0]["weight"])
    assert values == STATE[1]


def test_tied_weights_are_kept_under_both_names(tmp_path: Path) -> None:
    """A network's embedding and head may be one tensor, of which safetensors wants two."""
    tied = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    Checkpoint(tmp_path, DECISIVE, 60).save(({"head": tied, "embedding": tied}, {}))
    tensors, _ = Checkpoint(tmp_path, DECISIVE, 60).load() or ({}, {})
    assert torch.equal(tensors["head"], tied)
    assert torch.equal(tensors["embedding"], tied)


@pytest.mark.parametrize("text", ['{"decisive": 1}', '{"result": [], "decisive": {}}', "[]", "{"])
def test_what_is_known_of_a_state_may_be_damaged(text: str, tmp_path: Path) -> None:
    """Nothing is then known; the state itself has a digest of its own."""
    checkpoint = Checkpoint(tmp_path, DECISIVE, 60)
    checkpoint.save(STATE)
    (tmp_path / "other.json").write_text(text)
    (tmp_path / "other.safetensors").write_bytes(b"")
    assert known(tmp_path / "other.json") == {}
    assert Checkpoint(tmp_path, DECISIVE | {"threads": 4}, 60).load() is None
    checkpoint.drop_recorded(1, "abc")
    assert checkpoint.path.exists()


def test_another_run_does_not_see_it(tmp_path: Path) -> None:
    Checkpoint(tmp_path, DECISIVE, 60).save(STATE)
    assert Checkpoint(tmp_path, DECISIVE | {"threads": 4}, 60).load() is None


def test_resume_0_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint(tmp_path, DECISIVE, 60)
    checkpoint.save(STATE)
    monkeypatch.setenv("RESUME", "0")
    assert checkpoint.load() is None
    assert not list(tmp_path.iterdir())
    assert f"{checkpoint.path} is removed: RESUME=0 asks to train afresh" in capsys.readouterr().out


def test_its_seconds_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHECKPOINT_SECONDS", raising=False)
    assert checkpoint_seconds() == 60
    monkeypatch.setenv("CHECKPOINT_SECONDS", "0.5")
    assert checkpoint_seconds() == 0.5
    for text in ("0", "-1", "inf", "nan", "a minute", ""):
        monkeypatch.setenv("CHECKPOINT_SECONDS", text)
        with pytest.raises(InputError, match=r"^CHECKPOINT_SECONDS: '.*' is not a number above 0"):
            checkpoint_seconds()


def test_due_when_its_seconds_have_passed(tmp_path: Path) -> None:
    assert not Checkpoint(tmp_path, DECISIVE, 3600).due()
    checkpoint = Checkpoint(tmp_path, DECISIVE, 1e-9)
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
    checkpoint = Checkpoint(tmp_path, DECISIVE, 60)
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
    with pytest.raises(InputError, match=r"\.safetensors: is damaged.*RESUME=0 dvc repro"):
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
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
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


def finished(folder: Path, decisive: dict[str, object], epochs: int, content: bytes) -> Checkpoint:
    """A run that has ended, with weights of this content."""
    checkpoint = Checkpoint(folder / "resume", decisive, 60)
    checkpoint.save(STATE)
    (folder / "weights").write_bytes(content)
    checkpoint.finish(epochs, folder / "weights")
    return checkpoint


def test_a_finished_state_stays_until_its_result_is_recorded(tmp_path: Path) -> None:
    """dvc.lock may have another result, or none: then the next start writes this one again."""
    checkpoint = finished(tmp_path, DECISIVE, 30, b"weights")
    for recorded in (None, "another"):
        checkpoint.drop_recorded(30, recorded)
        assert checkpoint.load() is not None
    checkpoint.drop_recorded(30, md5(tmp_path / "weights"))
    assert checkpoint.load() is None
    assert not list((tmp_path / "resume").iterdir())


def test_a_state_stays_where_dvc_lock_has_gone_back_to_another_result(tmp_path: Path) -> None:
    """It was recorded once; now dvc.lock has another machine's result of the same values."""
    checkpoint = finished(tmp_path, DECISIVE, 30, b"weights")
    other = Checkpoint(tmp_path / "resume", DECISIVE | {"threads": 9}, 60)
    other.drop_recorded(30, md5(tmp_path / "weights"))
    checkpoint.drop_recorded(30, "another")
    assert checkpoint.load() is not None


def test_a_recorded_state_stays_for_a_longer_run(tmp_path: Path) -> None:
    checkpoint = finished(tmp_path, DECISIVE, 30, b"weights")
    checkpoint.drop_recorded(60, md5(tmp_path / "weights"))
    assert checkpoint.load() is not None
    # What goes on from there has no result of its own yet, and is not taken for recorded.
    checkpoint.save(STATE)
    checkpoint.drop_recorded(60, md5(tmp_path / "weights"))
    checkpoint.drop_recorded(30, md5(tmp_path / "weights"))
    assert checkpoint.load() is not None


def test_of_recorded_states_the_newest_stays(tmp_path: Path) -> None:
    """And every one whose result is not in dvc.lock yet, and every unfinished one."""
    unfinished = Checkpoint(tmp_path / "resume", DECISIVE | {"threads": 9}, 60)
    unfinished.save(STATE)
    lost = finished(tmp_path, DECISIVE | {"threads": 1}, 30, b"lost")
    recorded = finished(tmp_path, DECISIVE | {"threads": 2}, 30, b"recorded")
    newest = Checkpoint(tmp_path / "resume", DECISIVE | {"threads": 3}, 60)
    newest.drop_recorded(30, md5(tmp_path / "weights"))
    newest.save(STATE)
    newest.finish(30, tmp_path / "weights")
    left = {path.stem for path in (tmp_path / "resume").glob("*.safetensors")}
    assert left == {unfinished.name, lost.name, newest.name}
    assert not recorded.about.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threads": 4}, "made with threads 2, not 4: its bits would not be this machine's"),
        ({"torch": "3"}, "made with torch None, not 3"),
        ({"switches": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}, "made with switches None, not others"),
        ({"params.yaml: seed": 1}, ""),
        ({"src/training/fit.py": "edited"}, ""),
        ({"threads": 4, "params.yaml: seed": 1}, ""),
    ],
)
def test_a_state_that_does_not_fit_is_told_with_the_reason(
    change: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only where a person may have expected it to be used: parameters, data and code are alike."""
    Checkpoint(tmp_path, DECISIVE, 60).save(STATE)
    assert Checkpoint(tmp_path, DECISIVE | change, 60).load() is None
    output = capsys.readouterr().out
    assert said in output
    assert bool(output) == bool(said)


def test_another_number_of_epochs_begins_anew_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = {"params.yaml: train.epochs": 30}
    Checkpoint(tmp_path, DECISIVE | epochs, 60).save(STATE)
    longer = Checkpoint(tmp_path, DECISIVE | {"params.yaml: train.epochs": 60}, 60)
    assert longer.load() is None
    said = capsys.readouterr().out
    assert "is of this run with train.epochs: 30" in said
    assert "training begins anew" in said


@pytest.mark.parametrize(
    ("schedule", "resolution", "alike"),
    [
        ("plateau", [32], True),
        ("plateau", [32, 32], True),
        ("plateau", [16, 32], False),
        ("cosine", [32], False),
        ("one_cycle", [32], False),
        ("cyclic", [32], True),
    ],
)
def test_where_the_number_of_epochs_decides_no_earlier_step(
    schedule: str, resolution: list[int], alike: bool
) -> None:
    train = params(schedule=schedule, resolution=resolution).train
    one, other = (
        fingerprint(without_epochs(DECISIVE | {"params.yaml: train.epochs": epochs}, train))
        for epochs in (30, 60)
    )
    assert (one == other) == alike


def test_a_damaged_note_costs_nothing_but_the_note(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, DECISIVE, 60)
    checkpoint.save(STATE)
    checkpoint.about.write_text("{")
    (tmp_path / "other.json").write_text("[]")
    checkpoint.drop_recorded(30, "0")
    assert checkpoint.load() is not None
