"""The four learning-rate schedules, on torch's schedulers."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, OneCycleLR, ReduceLROnPlateau

from src.pipeline.errors import InputError
from src.pipeline.params import Train

Scheduler = CosineAnnealingLR | CyclicLR | OneCycleLR | ReduceLROnPlateau


def build_scheduler(
    optimizer: Optimizer, train: Train, lr: float, base_lr: float, per_epoch: int
) -> Scheduler:
    """The scheduler that train.schedule names.

    lr: the starting rate of plateau and cosine, the peak of one_cycle and cyclic; base_lr: the
    lower bound of cyclic. plateau steps once an epoch, the others once a batch.
    """
    steps = train.epochs * per_epoch
    if train.schedule == "plateau":
        return ReduceLROnPlateau(
            optimizer,
            factor=train.plateau.factor,
            patience=train.plateau.patience,
            cooldown=train.plateau.cooldown,
        )
    if train.schedule == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    if train.schedule == "cyclic":
        if base_lr >= lr:
            raise InputError(
                f"train.lr: {lr:g} is not above {base_lr:g}, lr_find's base_lr, between which "
                "train.schedule: cyclic goes up and down (params.yaml)"
            )
        half: Any = train.cyclic.period_epochs * per_epoch / 2  # typed int, but any number will do
        return CyclicLR(optimizer, base_lr, lr, half, cycle_momentum=False)
    # The scheduler is stepped after each batch, the last one too.
    total, warmup = steps + 1, train.one_cycle.warmup
    return OneCycleLR(
        optimizer,
        lr,
        total_steps=total,
        # Where it ends on the very first step, OneCycleLR divides by its length, zero.
        pct_start=warmup * (1 + 1e-9) if warmup * total == 1 else warmup,
        anneal_strategy="linear",
        cycle_momentum=False,
        div_factor=1 / train.one_cycle.start_factor,
        final_div_factor=train.one_cycle.start_factor / train.one_cycle.end_factor,
    )
