"""fit: it learns, its schedules are what they say, it stops on divergence and on request."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.device import set_deterministic
from src.pipeline.errors import InputError
from src.pipeline.files import read_numbers
from src.pipeline.params import Params
from src.pipeline.stop import Stopped, StopRequest
from src.training.checkpoint import Checkpoint
from src.training.fit import EpochLog, fit, metrics, read_rates, resolve_lr
from src.training.run import Run
from src.training.schedule import build_scheduler
from src.training.step import validate
from tests.conftest import tiny_data, tiny_values
from tests.tiny import TinyNet, params, settings, train


def test_it_learns(tmp_path: Path) -> None:
    history, _ = train(tmp_path, params(epochs=8), settings(0.1))
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.4
    assert set(history[0]) == {
        "epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy",
    }  # fmt: skip


def test_files_after_each_epoch(tmp_path: Path) -> None:
    history, _ = train(tmp_path, params(), settings())
    header, *rows = (tmp_path / "training.csv").read_text().splitlines()
    assert header == "epoch,lr,train_loss,train_accuracy,val_loss,val_accuracy"
    assert [[float(cell) for cell in row.split(",")] for row in rows] == [
        list(row.values()) for row in history
    ]
    start, *epochs = map(json.loads, (tmp_path / "train.jsonl").read_text().splitlines())
    assert "startup_seconds" in start
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert all(row["images_per_second"] > 0 and row["seconds"] > 0 for row in epochs)


def test_seconds_are_of_the_whole_epoch_and_speed_of_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def taking(seconds: float, work: Any) -> Any:
        def timed(*arguments: Any) -> Any:
            clock[0] += seconds
            return work(*arguments)

        return timed

    monkeypatch.setattr("src.training.fit.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(Run, "train_step", taking(1.0, Run.train_step))
    monkeypatch.setattr("src.training.run.validate", taking(7.0, validate))
    train(tmp_path, params(epochs=2), settings())
    _, *epochs = map(json.loads, (tmp_path / "train.jsonl").read_text().splitlines())
    assert [row["seconds"] for row in epochs] == [10 * 1.0 + 7.0] * 2
    assert [row["images_per_second"] for row in epochs] == [16.0] * 2


def test_without_validation_its_columns_are_empty(tmp_path: Path) -> None:
    import dataclasses

    values = tiny_values()
    values["data"]["val_size"] = 0
    values["train"] |= {"schedule": "cosine", "epochs": 1}
    log = EpochLog(tmp_path / "training.csv", tmp_path / "log", "run", 0.0)
    data = dataclasses.replace(tiny_data(), validation=None)
    checkpoint = Checkpoint(tmp_path, "run", 60)
    history = fit(TinyNet(), data, Params.model_validate(values), settings(), checkpoint, log)
    assert set(history[0]) == {"epoch", "lr", "train_loss", "train_accuracy"}
    assert set(metrics(history, settings())) == {
        "train_loss", "train_accuracy", "epochs", "lr", "precision",
    }  # fmt: skip
    (row,) = read_numbers(tmp_path / "training.csv", "")
    assert row == {**history[0], "val_loss": None, "val_accuracy": None}


def lrs(schedule: str, **train_values: Any) -> list[float]:
    """The learning rate of each step of a run that is not trained."""
    wanted = params(schedule=schedule, **train_values)
    run = Run(TinyNet(), tiny_data(), wanted, settings(0.1))
    rates = []
    for _ in range(run.total_steps):
        rates.append(run.lr)
        run.optimizer.step()
        run.scheduler.step()  # type: ignore[call-arg]
    return rates


def test_one_cycle_rises_to_the_peak_and_falls_to_the_end() -> None:
    rates = lrs("one_cycle", epochs=4)
    assert len(rates) == 40
    assert rates[0] == pytest.approx(0.1 * 0.04)
    assert max(rates) == pytest.approx(0.1, rel=0.05)
    assert 8 <= rates.index(max(rates)) <= 11
    # The end is reached after the last step: 10.25 steps up from step 0, 30.75 down.
    assert rates[-1] == pytest.approx(0.1 * 0.0004 + (0.1 - 0.1 * 0.0004) / 30.75)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_one_cycle_may_warm_up_for_a_single_step() -> None:
    """torch's scheduler divides by the warm-up's length, less one."""
    cycle = {"warmup": 0.25, "start_factor": 0.04, "end_factor": 0.0004}
    with_ten_steps = lrs("one_cycle", epochs=1, one_cycle=cycle | {"warmup": 1 / 11})
    assert with_ten_steps[0] == pytest.approx(0.1 * 0.04)
    assert with_ten_steps[1:] == sorted(with_ten_steps[1:], reverse=True)
    assert with_ten_steps[1] == pytest.approx(0.09, rel=0.01)


def test_cosine_falls_from_lr_to_zero() -> None:
    rates = lrs("cosine", epochs=4)
    assert rates[0] == 0.1
    assert rates[20] == pytest.approx(0.05)
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * 39 / 40)) / 2)


def test_cyclic_is_triangular_between_the_bounds() -> None:
    rates = lrs("cyclic", epochs=4, cyclic={"period_epochs": 2})
    assert rates[0] == pytest.approx(0.01)
    assert rates[10] == pytest.approx(0.1)
    assert rates[5] == pytest.approx(0.055)
    assert rates[20] == pytest.approx(0.01)
    assert rates[30] == pytest.approx(0.1)


def test_cycles_of_an_odd_number_of_steps_do_not_drift() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    wanted = params(schedule="cyclic", epochs=100, cyclic={"period_epochs": 1}).train
    scheduler = build_scheduler(optimizer, wanted, 0.1, 0.01, per_epoch=351)
    for _ in range(100 * 351):
        optimizer.step()
        scheduler.step()  # type: ignore[call-arg]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_plateau_lowers_the_rate_when_validation_stalls(tmp_path: Path) -> None:
    """A rate too small to learn anything with: every epoch after the first is a stall."""
    wanted = params(epochs=14, plateau={"factor": 0.5, "patience": 1, "cooldown": 0})
    history, _ = train(tmp_path, wanted, settings(1e-6))
    rates = [row["lr"] for row in history]
    assert rates[:3] == [1e-6] * 3
    assert set(rates) >= {1e-6, 5e-7, 2.5e-7}


def test_plateau_waits_for_its_patience_and_then_cools_down() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    wanted = params(plateau={"factor": 0.5, "patience": 1, "cooldown": 2}).train
    scheduler = build_scheduler(optimizer, wanted, 0.1, 0.01, per_epoch=10)
    rates = []
    for _ in range(11):
        scheduler.step(1.0)
        rates.append(optimizer.param_groups[0]["lr"])
    # The first is the best so far, two are too many; then two do not count, and two are again.
    assert rates == [0.1] * 2 + [0.05] * 4 + [0.025] * 4 + [0.0125]


def test_a_cycle_needs_two_rates() -> None:
    with pytest.raises(InputError, match=r"train\.lr: 0\.01 is not above 0\.01, lr_find's base_lr"):
        Run(TinyNet(), tiny_data(), params(schedule="cyclic"), settings(0.01))


@pytest.mark.parametrize(
    "content", ["{}", '{"lr": 0.1, "base_lr": "x", "max_lr": 1.0}', '{"lr": 0.1, "base_lr": 0.01}']
)
def test_rates_that_lr_find_did_not_write_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "lr_find.json").write_text(content)
    with pytest.raises(InputError, match=r"lr_find\.json: .* not a rate .*dvc repro -f -s lr_find"):
        read_rates(tmp_path / "lr_find.json")


def test_a_step_too_large_for_the_memory_is_named() -> None:
    run = Run(TinyNet(), tiny_data(), params(), settings())

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    run.device_step = full
    (images, labels), *_ = run.batches()
    with pytest.raises(InputError, match=r"train\.batch_size: a step of 16 images does not fit"):
        run.train_step(images, labels)


def test_smoothing_is_learned_from_and_not_reported() -> None:
    """The training loss stands beside the validation's, which has none."""
    runs = [
        Run(TinyNet(), tiny_data(), params(label_smoothing=smoothing), settings(0.1))
        for smoothing in (0.0, 0.5)
    ]
    for run in runs:
        (images, labels), *_ = run.batches()
        run.train_step(images, labels)
    plain, smoothed = runs
    assert torch.equal(plain.sums, smoothed.sums)
    assert not torch.equal(plain.model.fc.weight, smoothed.model.fc.weight)  # type: ignore[arg-type]


def test_auto_takes_what_the_schedule_needs() -> None:
    found = {"lr": 0.02, "base_lr": 0.001, "max_lr": 0.2}
    assert resolve_lr(params(lr="auto", schedule="plateau").train, found) == 0.02
    assert resolve_lr(params(lr="auto", schedule="cosine").train, found) == 0.02
    assert resolve_lr(params(lr="auto", schedule="one_cycle").train, found) == 0.2
    assert resolve_lr(params(lr="auto", schedule="cyclic").train, found) == 0.2
    assert resolve_lr(params(lr=0.3).train, found) == 0.3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_alike(precision: str, tmp_path: Path) -> None:
    exact, _ = train(tmp_path / "fp32", params(), settings())
    half, _ = train(tmp_path / precision, params(), settings(precision=precision))
    assert half[-1]["train_loss"] == pytest.approx(exact[-1]["train_loss"], abs=0.01)
    assert exact[-1]["train_loss"] < exact[0]["train_loss"] - 0.1


def test_resolution_follows_equal_shares_of_training() -> None:
    run = Run(TinyNet(), tiny_data(), params(epochs=4, resolution=[16, 24, 32, 32]), settings())
    sides: list[int] = []
    run.model.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    for images, labels in run.batches():
        run.train_step(images, labels)
    assert sides == [16] * 10 + [24] * 10 + [32] * 20


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_divergence_is_named_and_skips_the_update(precision: str, tmp_path: Path) -> None:
    model = TinyNet()
    with pytest.raises(InputError) as raised:
        train(tmp_path, params(epochs=20, batch_size=4), settings(1e20, precision), model)
    assert model.steps <= 4 + 20, "it was to stop within 20 steps"
    text = str(raised.value)
    assert "training diverged" in text
    assert "at epoch 1, step" in text
    assert "of 40, near" in text
    assert "dvc exp run -S train.lr=1e+19" in text
    assert ("set train.precision: fp32" in text) == (precision != "fp32")
    assert not list((tmp_path / "resume").glob("*"))


def test_a_bad_step_leaves_the_weights_finite() -> None:
    run = Run(TinyNet(), tiny_data(), params(), settings())
    (images, labels), *_ = run.batches()
    run.train_step(images, labels)
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    gradient = run.model.fc.weight.register_hook(lambda g: g * math.inf)  # type: ignore[union-attr]
    run.train_step(images, labels)
    gradient.remove()
    assert all(torch.equal(before[name], p) for name, p in run.model.named_parameters())
    run.train_step(images, labels)
    assert not all(torch.equal(before[name], p) for name, p in run.model.named_parameters())
    with pytest.raises(InputError, match=r"at epoch 1, step 2 of 10, near learning rate 0\.05"):
        run.check_finite()


@pytest.mark.parametrize(("bad_steps", "named"), [(1, False), (18, True)])
def test_fp16_gradients_that_always_overflow_are_named(bad_steps: int, named: bool) -> None:
    """One is skipped and the loss scale halved; at a scale below 1 it is divergence."""
    run = Run(TinyNet(), tiny_data(), params(epochs=9), settings(precision="fp16"))
    run.model.fc.weight.register_hook(lambda g: g * math.inf)  # type: ignore[union-attr]
    for images, labels in itertools.islice(run.batches(), bad_steps):
        run.train_step(images, labels)
    with pytest.raises(InputError, match="training diverged") if named else nullcontext():
        run.check_finite()


def test_the_last_good_checkpoint_stays_after_divergence(tmp_path: Path) -> None:
    """It is written before the bad step, and never after one."""
    model = TinyNet()
    calls = []

    def spoil(_: torch.nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return output * math.nan if len(calls) > 14 and model.training else output

    model.fc.register_forward_hook(spoil)
    with pytest.raises(InputError, match="training diverged"):
        train(tmp_path, params(checkpoint_seconds=1e-9), settings(), model)
    tensors, values = Checkpoint(tmp_path / "resume", "run", 60).load() or ({}, {})
    assert 0 < values["step"] <= 14
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_stopped_after_the_last_step(tmp_path: Path) -> None:
    """All is done but the files: DVC deletes them when the stage starts again."""
    wanted = params(checkpoint_seconds=1e-9)
    history, model = train(tmp_path, wanted, settings())
    table = (tmp_path / "training.csv").read_bytes()
    (tmp_path / "training.csv").unlink()
    again, other = train(tmp_path, wanted, settings())
    assert again == history
    assert (tmp_path / "training.csv").read_bytes() == table
    before, after = model.state_dict(), other.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


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
        train(tmp_path, params(epochs=10_000), settings(0.001), model)
    assert raised.value.code == 128 + number
    assert signal.getsignal(number) is before
    state = Checkpoint(tmp_path / "resume", "run", 60).load()
    assert state is not None
    assert state[1]["step"] == 3


def test_a_stop_while_an_epoch_is_closed_leaves_it_to_the_next_run(tmp_path: Path) -> None:
    """Its steps are done and its validation is not: the plateau must see it all the same."""
    wanted = params(epochs=3, plateau={"factor": 0.5, "patience": 0, "cooldown": 0})
    expected, whole = train(tmp_path / "whole", wanted, settings(1e-6))
    assert expected[-1]["lr"] < expected[0]["lr"]
    model = TinyNet()

    def signal_in_last_step(*_: Any) -> None:
        if model.training and model.steps == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    model.fc.register_forward_hook(signal_in_last_step)
    with pytest.raises(Stopped):
        train(tmp_path / "cut", wanted, settings(1e-6), model)
    _, values = Checkpoint(tmp_path / "cut/resume", "run", 60).load() or ({}, {})
    assert values["step"] == 10
    assert values["history"] == []
    history, resumed = train(tmp_path / "cut", wanted, settings(1e-6))
    assert history == expected
    before, after = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_stop_after_a_bad_step_saves_nothing(tmp_path: Path) -> None:
    """Or the run that goes on from there would hide that an update was skipped."""
    model = TinyNet()

    def spoil_then_stop(_: torch.nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        if model.steps == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return output * math.nan if model.steps == 5 else output

    model.fc.register_forward_hook(spoil_then_stop)
    with pytest.raises(InputError, match=r"training diverged: .* epoch 1, step 5 of 10"):
        train(tmp_path, params(), settings(), model)
    assert not list((tmp_path / "resume").glob("*"))


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


def test_deterministic_kernels_change_nothing_but_speed(tmp_path: Path) -> None:
    """On a CPU to the bit."""
    results = []
    for deterministic in (True, False):
        set_deterministic(deterministic)
        try:
            results.append(train(tmp_path / str(deterministic), params(), settings())[0])
        finally:
            set_deterministic(False)
    assert results[0] == results[1]


def test_progressive_resizing_ends_near_full_size_training(tmp_path: Path) -> None:
    full, _ = train(tmp_path / "full", params(epochs=6), settings())
    small, _ = train(tmp_path / "small", params(epochs=6, resolution=[16, 32]), settings())
    assert small[-1]["train_loss"] == pytest.approx(full[-1]["train_loss"], abs=0.05)
    assert full[-1]["train_loss"] < full[0]["train_loss"] - 0.3
