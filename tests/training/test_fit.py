"""fit: it learns, its schedules are what they say, it stops on divergence and on request."""

import errno
import itertools
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from src.device import set_deterministic
from src.pipeline.errors import InputError
from src.pipeline.stop import Stopped
from src.training.checkpoint import Checkpoint
from tests.tiny import DECISIVE, TinyNet, params, plateau, train


def test_it_learns(tmp_path: Path) -> None:
    history, _ = train(tmp_path, params(epochs=8), 0.1)
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.4
    assert set(history[0]) == {
        "epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy",
    }  # fmt: skip


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_alike(precision: str, tmp_path: Path) -> None:
    exact, _ = train(tmp_path / "fp32", params())
    half, _ = train(tmp_path / precision, params(), precision=precision)
    assert half[-1]["train_loss"] == pytest.approx(exact[-1]["train_loss"], abs=0.01)
    assert exact[-1]["train_loss"] < exact[0]["train_loss"] - 0.1


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_divergence_is_named_and_skips_the_update(precision: str, tmp_path: Path) -> None:
    model = TinyNet()
    with pytest.raises(InputError) as raised:
        train(tmp_path, params(epochs=20, batch_size=4), 1e20, precision, model=model)
    assert model.steps <= 4 + 20, "it was to stop within 20 steps"
    text = str(raised.value)
    assert "training diverged" in text
    assert "at epoch 1, step" in text
    assert "of 40, near" in text
    assert "dvc exp run -S train.lr=1e+19" in text
    assert ("set train.precision: fp32" in text) == (precision != "fp32")
    assert not list((tmp_path / "resume").glob("*"))


def test_the_last_good_checkpoint_stays_after_divergence(tmp_path: Path) -> None:
    """It is written before the bad step, and never after one."""
    model = TinyNet()
    calls = []

    def spoil(_: torch.nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return output * math.nan if len(calls) > 14 and model.training else output

    model.fc.register_forward_hook(spoil)
    with pytest.raises(InputError, match="training diverged"):
        train(tmp_path, params(), model=model, seconds=1e-9)
    tensors, values = Checkpoint(tmp_path / "resume", DECISIVE, 60).load() or ({}, {})
    assert 0 < values["step"] <= 14
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(number: int, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    model = TinyNet()
    steps = itertools.count(1)

    def signal_in_third_step(*_: Any) -> None:
        if next(steps) == 3:
            os.kill(os.getpid(), number)

    model.fc.register_forward_hook(signal_in_third_step)
    with pytest.raises(Stopped) as raised:
        train(tmp_path, params(epochs=10_000), 0.001, model=model)
    assert raised.value.code == 128 + number
    assert signal.getsignal(number) is before
    state = Checkpoint(tmp_path / "resume", DECISIVE, 60).load()
    assert state is not None
    assert state[1]["step"] == 3


@pytest.mark.parametrize("average", [None, {"decay": 0.9}])
def test_a_stop_while_an_epoch_is_closed_leaves_it_to_the_next_run(
    average: dict[str, float] | None, tmp_path: Path
) -> None:
    """Its steps are done and its validation is not: the plateau must see it all the same."""
    wanted = params(
        epochs=3,
        average=average,
        plateau=plateau(factor=0.5, patience=0, cooldown=0),
    )
    expected, whole = train(tmp_path / "whole", wanted, 1e-6)
    assert expected[-1]["lr"] < expected[0]["lr"]
    model = TinyNet()

    def signal_in_last_step(*_: Any) -> None:
        if model.training and model.steps == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    model.fc.register_forward_hook(signal_in_last_step)
    with pytest.raises(Stopped):
        train(tmp_path / "cut", wanted, 1e-6, model=model)
    _, values = Checkpoint(tmp_path / "cut/resume", DECISIVE, 60).load() or ({}, {})
    assert values["step"] == 10
    assert values["history"] == []
    history, resumed = train(tmp_path / "cut", wanted, 1e-6)
    assert history == expected
    before, after = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EPIPE, 141), (errno.ENOSPC, 1), (errno.EIO, 1)]
)
def test_a_stdout_that_takes_no_more_loses_nothing(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch whose line could not be printed is closed, and the next run goes on behind it."""
    expected, whole = train(tmp_path / "whole", params())

    def write(_: str) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("src.training.fit.tqdm.write", write)
        patch.setattr("src.training.fit.let_go_of_stdout", lambda: None)
        with pytest.raises(Stopped, match=os.strerror(number)) as raised:
            train(tmp_path / "cut", params())
    assert raised.value.code == code
    assert ("free some space" in str(raised.value)) is (number == errno.ENOSPC)
    assert (tmp_path / "cut/training.csv").read_text().count("\n") == 2
    _, values = Checkpoint(tmp_path / "cut/resume", DECISIVE, 60).load() or ({}, {})
    assert values["step"] == 10
    assert len(values["history"]) == 1
    history, resumed = train(tmp_path / "cut", params())
    assert history == expected
    before, after = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_a_stderr_there_is_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `2>&-`."""
    monkeypatch.setattr("sys.stderr", None)
    history, _ = train(tmp_path, params())
    assert len(history) == 3


def test_a_run_whose_last_validation_alone_was_left_writes_its_end(tmp_path: Path) -> None:
    """Else a longer run would validate that epoch once more."""
    model = TinyNet()

    def signal_in_last_step(*_: Any) -> None:
        if model.training and model.steps == 30:
            os.kill(os.getpid(), signal.SIGTERM)

    model.fc.register_forward_hook(signal_in_last_step)
    with pytest.raises(Stopped):
        train(tmp_path, params(), model=model)
    for epochs_closed in (2, 3):
        _, values = Checkpoint(tmp_path / "resume", DECISIVE, 60).load() or ({}, {})
        assert values["step"] == 30
        assert len(values["history"]) == epochs_closed
        history, again = train(tmp_path, params())
        assert again.steps == 0
    assert len(history) == 3


def test_a_stop_after_a_bad_step_saves_nothing(tmp_path: Path) -> None:
    """Or the run that goes on from there would hide that an update was skipped."""
    model = TinyNet()

    def spoil_then_stop(_: torch.nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        if model.steps == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return output * math.nan if model.steps == 5 else output

    model.fc.register_forward_hook(spoil_then_stop)
    with pytest.raises(InputError, match=r"training diverged: .* epoch 1, step 5 of 10"):
        train(tmp_path, params(), model=model)
    assert not list((tmp_path / "resume").glob("*"))


def test_deterministic_kernels_change_nothing_but_speed(tmp_path: Path) -> None:
    """On a CPU to the bit."""
    results = []
    for deterministic in (True, False):
        set_deterministic(deterministic)
        try:
            results.append(train(tmp_path / str(deterministic), params())[0])
        finally:
            set_deterministic(False)
    assert results[0] == results[1]


def test_progressive_resizing_ends_near_full_size_training(tmp_path: Path) -> None:
    full, _ = train(tmp_path / "full", params(epochs=6))
    small, _ = train(tmp_path / "small", params(epochs=6, resolution=[16, 32]))
    assert small[-1]["train_loss"] == pytest.approx(full[-1]["train_loss"], abs=0.05)
    assert full[-1]["train_loss"] < full[0]["train_loss"] - 0.3


def test_a_longer_run_goes_on_from_a_shorter_ones_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With plateau at one size, to the bit what a long run from the start gives."""
    dropping = plateau(factor=0.5, patience=0, cooldown=0, threshold=0.0, min_lr=0.0)
    short, long = (params(epochs=epochs, plateau=dropping) for epochs in (3, 6))
    expected, whole = train(tmp_path / "whole", long, 0.5)
    assert len({row["lr"] for row in expected}) > 1
    train(tmp_path / "parts", short, 0.5)
    history, longer = train(tmp_path / "parts", long, 0.5)
    assert "going on from step 30 of 60" in capsys.readouterr().out
    assert history == expected
    before, after = whole.state_dict(), longer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_shorter_run_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, params(epochs=4))
    history, _ = train(tmp_path, params(epochs=2))
    assert [row["epoch"] for row in history] == [1, 2]
    assert "is at step 40, beyond the 20 of train.epochs" in capsys.readouterr().out


def test_train_stop_ends_a_hopeless_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a rate of nearly nothing no epoch is better than the first; the last is the result."""
    stop = {"patience": 2, "min_delta": 0.01}
    history, _ = train(tmp_path, params(epochs=20, stop=stop), 1e-9)
    assert len(history) == 4
    # Started again it has nothing to do, and says why.
    again, model = train(tmp_path, params(epochs=20, stop=stop), 1e-9)
    assert again == history
    assert model.steps == 0
    assert capsys.readouterr().out.count("stopped early after epoch 4, as train.stop asks") == 2


def test_train_stop_goes_by_the_losses_at_the_last_size(tmp_path: Path) -> None:
    """Else a run could end before it has ever seen the size of the test images."""
    stop = {"patience": 1, "min_delta": 0.01}
    history, _ = train(tmp_path, params(epochs=12, resolution=[16, 32], stop=stop), 1e-9)
    assert len(history) == 6 + 3


def test_a_run_that_stalls_at_its_last_epoch_was_not_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = {"patience": 1, "min_delta": 0.01}
    for epochs in (3, 4):
        history, _ = train(tmp_path / str(epochs), params(epochs=epochs, stop=stop), 1e-9)
        assert len(history) == 3
        assert ("stopped early after epoch 3" in capsys.readouterr().out) is (epochs == 4)


def test_the_final_state_outlives_the_run(tmp_path: Path) -> None:
    """DVC deletes the files when the stage starts again, and may have failed to record them."""
    history, model = train(tmp_path, params(), seconds=3600)
    table = (tmp_path / "training.csv").read_bytes()
    (tmp_path / "training.csv").unlink()
    again, other = train(tmp_path, params(), seconds=3600)
    assert again == history
    assert other.steps == 0
    assert (tmp_path / "training.csv").read_bytes() == table
    before, after = model.state_dict(), other.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
