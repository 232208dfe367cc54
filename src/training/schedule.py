"""The learning rates: which of lr_find's training takes, and how they change as it goes on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, OneCycleLR, ReduceLROnPlateau

from src.pipeline.errors import InputError, remake
from src.pipeline.files import read_json
from src.pipeline.params import Stop, Train

Scheduler = CosineAnnealingLR | CyclicLR | OneCycleLR | ReduceLROnPlateau
FOUND = ("steep", "valley", "minimum", "slide", "base_lr", "max_lr")


@dataclass(frozen=True)
class Rates:
    """start: of the first step; peak: the highest; floor: the lowest that the schedule goes to."""

    start: float
    peak: float
    floor: float


def read_rates(path: Path) -> dict[str, float]:
    """The rates that lr_find found, by name; none where its curve told none.

    Raises InputError where the file is damaged.
    """
    mend = remake("lr_find")
    found = read_json(path, mend)
    for name in FOUND if found else ():
        rate = found.get(name)
        if not isinstance(rate, float) or not 0 < rate < math.inf:
            raise InputError(f"{path}: {name} is {rate!r}, not a rate above 0; {mend}")
    return found


def resolve_rates(train: Train, found: Mapping[str, float]) -> Rates:
    """The rates of train.schedule, from params.yaml's numbers and lr_find's `found` by name.

    Raises InputError for a plateau or a cycle whose lowest rate is not below its highest, and for
    a name where lr_find found none.
    """
    peak = rate_of("train.lr", train.lr, found)
    if train.schedule == "one_cycle":
        cycle = train.one_cycle
        return Rates(peak * cycle.start_factor, peak, peak * cycle.end_factor)
    if train.schedule == "plateau":
        floor = train.plateau.min_lr
        if floor >= peak:
            raise InputError(
                f"train.plateau.min_lr: {floor:g} is not below train.lr, {peak:g}, so the rate "
                "could never fall (params.yaml)"
            )
        return Rates(peak, peak, floor)
    if train.schedule != "cyclic":
        return Rates(peak, peak, 0.0)
    floor = rate_of("train.cyclic.base_lr", train.cyclic.base_lr, found)
    if floor >= peak:
        raise InputError(
            f"train.lr: {peak:g} is not above train.cyclic.base_lr, {floor:g}, between which "
            "train.schedule: cyclic goes up and down (params.yaml)"
        )
    return Rates(floor, peak, floor)


def rate_of(key: str, value: str | float, found: Mapping[str, float]) -> float:
    """A parameter's number, or the rate that it names."""
    if not isinstance(value, str):
        return value
    if value not in found:
        raise InputError(
            f"{key}: {value} cannot be had, because the range test found no rate (its curve: "
            "plots/lr_find.png; `dvc repro -f -s lr_find` says why); set a number, or mend the "
            "test (params.yaml)"
        )
    return found[value]


def stalled(losses: Sequence[float], stop: Stop) -> bool:
    """Whether more than `patience` epochs have passed since the loss last fell by `min_delta`."""
    best, since = math.inf, 0
    for loss in losses:
        since = 0 if loss < best - stop.min_delta else since + 1
        best = loss if since == 0 else best
    return since > stop.patience


def begin_anew(plateau: ReduceLROnPlateau) -> None:
    """Forget the losses so far: those of images of another size tell nothing of the next ones."""
    plateau.best, plateau.num_bad_epochs = math.inf, 0


def half_cycle(steps: int) -> Any:
    """Half of a cycle's steps: CyclicLR has it typed int, but any number will do.

    Raises InputError for a cycle of one step.
    """
    if steps < 2:
        raise InputError(
            "train.cyclic.period_epochs: a cycle of one step would stay at its lowest rate; raise "
            "it, or lower train.batch_size (params.yaml)"
        )
    return steps / 2


def build_scheduler(optimizer: Optimizer, train: Train, rates: Rates, per_epoch: int) -> Scheduler:
    """The scheduler that train.schedule names; per_epoch: steps of an epoch.

    plateau steps once an epoch, the others once a batch.
    """
    steps = train.epochs * per_epoch
    if train.schedule == "plateau":
        plateau = train.plateau
        return ReduceLROnPlateau(
            optimizer,
            factor=plateau.factor,
            patience=plateau.patience,
            threshold=plateau.threshold,
            cooldown=plateau.cooldown,
            min_lr=rates.floor,
            eps=0.0,  # torch's own would leave out falls of less than 1e-8
        )
    if train.schedule == "cosine":
        return CosineAnnealingLR(optimizer, steps, eta_min=rates.floor)
    if train.schedule == "cyclic":
        half = half_cycle(train.cyclic.period_epochs * per_epoch)
        return CyclicLR(optimizer, rates.floor, rates.peak, half, cycle_momentum=False)
    # The scheduler is stepped after each batch, the last one too.
    total, cycle = steps + 1, train.one_cycle
    # The warm-up lasts beyond the first step, whose rate would else lie near the peak. If it ended
    # on that step, OneCycleLR would divide by its length, zero.
    warmup = max(cycle.warmup, (1 + 1e-9) / total)
    return OneCycleLR(
        optimizer,
        rates.peak,
        total_steps=total,
        pct_start=warmup,
        anneal_strategy="linear",
        cycle_momentum=False,
        # torch takes factors; from rates.start and rates.floor the last digit could differ.
        div_factor=1 / cycle.start_factor,
        final_div_factor=cycle.start_factor / cycle.end_factor,
    )
