"""The four learning-rate schedules, on torch's schedulers."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, OneCycleLR, ReduceLROnPlateau

from src.params import Train

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
        half = max(1, train.cyclic.period_epochs * per_epoch // 2)
        return CyclicLR(optimizer, min(base_lr, lr), lr, half, cycle_momentum=False)
    return OneCycleLR(
        optimizer,
        lr,
        # The scheduler is stepped after each batch, the last one too.
        total_steps=steps + 1,
        pct_start=train.one_cycle.warmup,
        anneal_strategy="linear",
        cycle_momentum=False,
        div_factor=1 / train.one_cycle.start_factor,
        final_div_factor=train.one_cycle.start_factor / train.one_cycle.end_factor,
    )
