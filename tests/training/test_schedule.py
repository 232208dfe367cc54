"""The rates: which are taken, and how each schedule changes them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from src.pipeline.errors import InputError
from src.pipeline.files import write_json
from src.pipeline.params import Stop
from src.training.schedule import Rates, build_scheduler, read_rates, resolve_rates, stalled
from tests.tiny import FOUND, new_run, params, plateau, rates, train


def lrs(schedule: str, **train_values: Any) -> list[float]:
    """The learning rate of each step of a run that is not trained."""
    wanted = params(schedule=schedule, **train_values)
    run = new_run(wanted, 0.1)
    seen = []
    for _ in range(run.total_steps):
        seen.append(run.lr)
        run.optimizer.step()
        run.scheduler.step()  # type: ignore[call-arg]
    return seen


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


@pytest.mark.parametrize(
    ("batch_size", "warmup"), [(160, 0.25), (80, 0.25), (16, 0.09), (32, 1 / 6 - 1e-12)]
)
def test_one_cycle_begins_at_its_first_rate(batch_size: int, warmup: float) -> None:
    """Also where the warm-up would end before the first step does."""
    cycle = {"warmup": warmup, "start_factor": 0.04, "end_factor": 0.0004}
    found = lrs("one_cycle", epochs=1, batch_size=batch_size, one_cycle=cycle)
    assert found[0] == pytest.approx(0.1 * 0.04)


def test_one_cycle_begins_and_ends_at_its_factors_of_the_peak() -> None:
    """Others than 0.04, at which torch's scheduler begins unless it is told otherwise."""
    cycle = {"warmup": 0.25, "start_factor": 0.5, "end_factor": 0.2}
    found = lrs("one_cycle", epochs=4, one_cycle=cycle)
    assert found[0] == pytest.approx(0.05)
    assert found[-1] == pytest.approx(0.02 + (0.1 - 0.02) / 30.75)


@pytest.mark.parametrize("schedule", ["plateau", "cosine", "one_cycle", "cyclic"])
def test_no_schedule_changes_the_momentum(schedule: str) -> None:
    """torch's one-cycle and cyclic schedules do, unless they are told otherwise."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.7)
    wanted = params(schedule=schedule, epochs=2)
    scheduler = build_scheduler(optimizer, wanted.train, rates(wanted, 0.1), per_epoch=10)
    seen = {optimizer.param_groups[0]["momentum"]}
    for _ in range(20):
        optimizer.step()
        scheduler.step(*([1.0] if schedule == "plateau" else []))
        seen.add(optimizer.param_groups[0]["momentum"])
    assert seen == {0.7}


def test_cosine_falls_from_lr_to_zero() -> None:
    rates = lrs("cosine", epochs=4)
    assert rates[0] == 0.1
    assert rates[20] == pytest.approx(0.05)
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * 39 / 40)) / 2)


def test_cyclic_is_triangular_between_the_bounds() -> None:
    rates = lrs("cyclic", epochs=4, cyclic={"base_lr": "base_lr", "period_epochs": 2})
    assert rates[0] == pytest.approx(0.01)
    assert rates[10] == pytest.approx(0.1)
    assert rates[5] == pytest.approx(0.055)
    assert rates[20] == pytest.approx(0.01)
    assert rates[30] == pytest.approx(0.1)


def test_cycles_of_an_odd_number_of_steps_do_not_drift() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    wanted = params(
        schedule="cyclic", epochs=100, cyclic={"base_lr": 0.01, "period_epochs": 1}
    ).train
    scheduler = build_scheduler(optimizer, wanted, Rates(0.01, 0.1, 0.01), per_epoch=351)
    for _ in range(100 * 351):
        optimizer.step()
        scheduler.step()  # type: ignore[call-arg]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_cycle_of_one_step_is_refused() -> None:
    """It would stay at its lowest rate, and yet be told as a training at the peak."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    cycle = {"base_lr": 0.01, "period_epochs": 1}
    wanted = params(schedule="cyclic", cyclic=cycle).train
    sentence = r"^train\.cyclic\.period_epochs: a cycle of one step would stay at its lowest rate"
    with pytest.raises(InputError, match=sentence):
        build_scheduler(optimizer, wanted, Rates(0.01, 0.1, 0.01), per_epoch=1)
    scheduler = build_scheduler(optimizer, wanted, Rates(0.01, 0.1, 0.01), per_epoch=2)
    optimizer.step()
    scheduler.step()  # type: ignore[call-arg]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_plateau_lowers_the_rate_when_validation_stalls(tmp_path: Path) -> None:
    """A rate too small to learn anything with: every epoch after the first is a stall."""
    wanted = params(
        epochs=14,
        plateau=plateau(factor=0.5, patience=1, cooldown=0),
    )
    history, _ = train(tmp_path, wanted, 1e-6)
    seen = [row["lr"] for row in history]
    assert seen[:3] == [1e-6] * 3
    assert set(seen) >= {1e-6, 5e-7, 2.5e-7}


def test_plateau_waits_for_its_patience_and_then_cools_down() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    wanted = params(plateau=plateau(factor=0.5, patience=1, cooldown=2)).train
    scheduler = build_scheduler(optimizer, wanted, Rates(0.01, 0.1, 0.01), per_epoch=10)
    seen = []
    for _ in range(11):
        scheduler.step(1.0)
        seen.append(optimizer.param_groups[0]["lr"])
    # The first is the best so far, two are too many; then two do not count, and two are again.
    assert seen == [0.1] * 2 + [0.05] * 4 + [0.025] * 4 + [0.0125]


def test_a_cycle_needs_two_rates() -> None:
    with pytest.raises(
        InputError, match=r"train\.lr: 0\.01 is not above train\.cyclic\.base_lr, 0\.01,"
    ):
        new_run(params(schedule="cyclic"), 0.01)


@pytest.mark.parametrize(
    "change", [{"slide": None}, {"base_lr": "x"}, {"max_lr": 0.0}, {"steep": True}, {"valley": 1}]
)
def test_rates_that_lr_find_did_not_write_are_refused(
    change: dict[str, object], tmp_path: Path
) -> None:
    write_json(tmp_path / "lr_find.json", FOUND | change)
    with pytest.raises(InputError, match=r"lr_find\.json: .* not a rate .*dvc repro -f -s lr_find"):
        read_rates(tmp_path / "lr_find.json")


def test_the_rates_of_lr_find_are_read(tmp_path: Path) -> None:
    write_json(tmp_path / "lr_find.json", FOUND)
    assert read_rates(tmp_path / "lr_find.json") == FOUND


def test_where_the_range_test_found_no_rate_only_a_number_is_taken(tmp_path: Path) -> None:
    write_json(tmp_path / "lr_find.json", {})
    found = read_rates(tmp_path / "lr_find.json")
    assert found == {}
    assert resolve_rates(params(lr=0.3).train, found).peak == 0.3
    with pytest.raises(
        InputError, match=r"^train\.lr: slide cannot be had, because the range test"
    ):
        resolve_rates(params(lr="slide").train, found)
    cyclic = {"base_lr": "base_lr", "period_epochs": 2}
    with pytest.raises(
        InputError, match=r"^train\.cyclic\.base_lr: base_lr cannot be had, because"
    ):
        resolve_rates(params(lr=0.3, schedule="cyclic", cyclic=cyclic).train, found)


@pytest.mark.parametrize("schedule", ["plateau", "cosine", "one_cycle", "cyclic"])
@pytest.mark.parametrize("name", ["slide", "steep", "valley", "minimum", "max_lr"])
def test_each_schedule_takes_the_rate_that_is_named(schedule: str, name: str) -> None:
    """Whatever the schedule: none of them chooses another by itself."""
    assert resolve_rates(params(lr=name, schedule=schedule).train, FOUND).peak == FOUND[name]
    assert resolve_rates(params(lr=0.3, schedule=schedule).train, FOUND).peak == 0.3


def test_the_rates_of_each_schedule() -> None:
    cycle = {"warmup": 0.25, "start_factor": 0.5, "end_factor": 0.25}
    own = {"base_lr": 0.2, "period_epochs": 2}
    expected = {
        ("plateau", 0.4): Rates(0.4, 0.4, 0.0),
        ("cosine", 0.4): Rates(0.4, 0.4, 0.0),
        ("one_cycle", 0.4): Rates(0.2, 0.4, 0.1),
        ("cyclic", 0.4): Rates(0.2, 0.4, 0.2),
    }
    for (schedule, lr), found_rates in expected.items():
        wanted = params(lr=lr, schedule=schedule, one_cycle=cycle, cyclic=own)
        assert resolve_rates(wanted.train, FOUND) == found_rates
    found = params(lr=0.4, schedule="cyclic", cyclic=own | {"base_lr": "base_lr"})
    assert resolve_rates(found.train, FOUND).floor == FOUND["base_lr"]


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "ends"),
    [
        ([], 0, 0.0, False),
        ([1.0], 0, 0.0, False),
        ([1.0, 1.0], 0, 0.0, True),
        ([1.0, 1.0], 1, 0.0, False),
        ([1.0, 0.9, 0.95, 0.8, 0.85, 0.9], 1, 0.0, True),
        ([1.0, 0.9, 0.95, 0.8, 0.85, 0.79], 1, 0.0, False),
        ([1.0, 0.95, 0.9, 0.85], 1, 0.2, True),
        # Small steps add up.
        ([1.0, 0.95, 0.9, 0.79], 2, 0.2, False),
    ],
)
def test_training_has_stalled(
    losses: list[float], patience: int, min_delta: float, ends: bool
) -> None:
    assert stalled(losses, Stop(patience=patience, min_delta=min_delta)) == ends


def test_a_plateau_lowers_small_rates_too() -> None:
    """torch leaves out falls below 1e-8, unless it is told otherwise."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-8)
    wanted = params(plateau=plateau(factor=0.5, patience=0))
    scheduler = build_scheduler(optimizer, wanted.train, rates(wanted, 1e-8), per_epoch=10)
    for _ in range(3):
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-8 / 4)


def test_plateau_goes_no_lower_than_min_lr_and_by_its_threshold() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    dropping = plateau(factor=0.1, patience=0, cooldown=0, threshold=0.1, min_lr=0.002)
    wanted = params(plateau=dropping)
    scheduler = build_scheduler(optimizer, wanted.train, rates(wanted, 0.1), per_epoch=10)
    seen = []
    # 0.95 is lower, but not by a tenth; 0.8 is.
    for loss in (1.0, 0.95, 0.8, 0.79, 0.78):
        scheduler.step(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0.1, 0.01, 0.01, 0.002, 0.002])


@pytest.mark.parametrize("floor", [0.05, 0.06])
def test_a_rate_that_could_never_fall_is_refused(floor: float) -> None:
    wanted = params(lr=0.05, plateau=plateau(min_lr=floor)).train
    with pytest.raises(InputError, match=rf"train\.plateau\.min_lr: {floor} is not below train"):
        resolve_rates(wanted, FOUND)
    # Other schedules do not read it.
    assert resolve_rates(wanted.model_copy(update={"schedule": "cosine"}), FOUND).floor == 0
