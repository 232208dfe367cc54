"""The learning-rate range test (Smith 2015, arXiv 1506.01186) on torch-lr-finder.

Exponential: the training loss of each step while the rate rises exponentially. Linear: the
validation loss after each step while it rises linearly, as in Smith's, who reads the accuracy.
"""

import contextlib
import io
import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from src.data.batches import Augmented, Batches, BatchKeys, augmented_batches
from src.data.dataset import TrainingData
from src.data.normalize import EVAL_BATCH, Normalize, resize
from src.data.records import Split
from src.data.split import sample
from src.device import DTYPES, autocast, memory_for
from src.lr_range.curve import NoFall, bounds, find_fall, snap, suggest
from src.lr_range.trend import Curve, blown_up, finite_part
from src.pipeline.params import LinearRange, LrFind, Range
from src.pipeline.progress import progress
from src.training.optimizer import make_optimizer
from src.training.settings import Settings, faults_of_step, key_draws

with warnings.catch_warnings():
    # It asks tqdm for a notebook's progress bar, which warns outside a notebook.
    warnings.simplefilter("ignore")
    from torch_lr_finder import LRFinder, lr_finder

# Its bar would fill the log of a queued run.
lr_finder.tqdm = lambda steps: progress(steps, "steps of the range test")


@dataclass(frozen=True)
class Found:
    """What the range test found.

    lrs, losses: the finite part of the curve, a value a step; measured: steep, valley, minimum,
    slide, base_lr and max_lr as read off it; rates: the same, each rounded to 1, 2 or 5 × 10^k
    inside the tested range. Where none can be read both are empty, and `fault` says why.
    """

    lrs: Curve
    losses: Curve
    measured: dict[str, float]
    rates: dict[str, float]
    fault: str = ""


class BlownUp(Exception):
    """Ends a range test from within its loop."""


class StoppingFinder(LRFinder):  # type: ignore[misc]
    """torch-lr-finder that stops where the loss has blown up or is not finite."""

    def range_test(self, *args: Any, **kwargs: Any) -> None:
        # An infinite threshold turns its own rule off, which one noisy batch can meet.
        with contextlib.suppress(BlownUp):
            super().range_test(*args, diverge_th=math.inf, **kwargs)

    def _train_batch(self, *args: Any, **kwargs: Any) -> float:
        losses = self.history["loss"]
        if losses and blown_up(losses):
            raise BlownUp
        loss: float = super()._train_batch(*args, **kwargs)
        return loss

    def _validate(self, *args: Any, **kwargs: Any) -> float:
        with memory_for(f"the range test's validation on {EVAL_BATCH} images at a time"):
            loss: float = super()._validate(*args, **kwargs)
        return loss


class Prepared(nn.Module):
    """uint8 images to fp32 logits as in training, so validation is under autocast too."""

    def __init__(self, model: nn.Module, normalize: Normalize, precision: str, side: int) -> None:
        super().__init__()
        self.model, self.normalize, self.precision, self.side = model, normalize, precision, side

    def forward(self, images: Tensor) -> Tensor:
        with autocast(self.precision, self.normalize.device):
            logits: Tensor = self.model(resize(self.normalize(images), self.side))
        return logits.float()


def range_test(model: nn.Module, data: TrainingData, find: LrFind, settings: Settings) -> Found:
    """Raise the rate over the range of lr_find.mode, say where that ended, and read the curve.

    `model` comes back as it went in.
    """
    train, device, linear = settings.train, settings.device, find.mode == "linear"
    span = tested_range(find)
    with memory_for("the network"):
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalize = Normalize(data.mean, data.std, device)
    finder = StoppingFinder(
        Prepared(model, normalize, settings.precision, train.resolution[0]),
        make_optimizer(model, settings.optimizer, span.start_lr),
        nn.CrossEntropyLoss(label_smoothing=train.label_smoothing),
        device=device,
        **fp16_options(settings.precision, device),
    )
    batches = training_loader(data.train, find.num_iter, settings)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        faults_of_step(train.batch_size),
        torch.random.fork_rng(devices=[]),
    ):
        key_draws(device, settings.seed, 0)
        finder.range_test(
            batches,
            val_loader=validation_loader(data, find.linear, settings.seed) if linear else None,
            end_lr=span.end_lr,
            num_iter=find.num_iter,
            step_mode="linear" if linear else "exp",
            smooth_f=0,
            # As in data/normalize.py: elsewhere the host's memory may be freed before it is read.
            non_blocking_transfer=device.type == "cuda",
        )
    finder.reset()
    lrs, losses = finder.history["lr"], finder.history["loss"]
    print(how_it_ended(lrs, losses, find), flush=True)
    return read_curve(lrs, losses, find)


def tested_range(find: LrFind) -> Range:
    return find.linear if find.mode == "linear" else find.exponential


def how_it_ended(lrs: list[float], losses: list[float], find: LrFind) -> str:
    if blown_up(losses):
        steps = f"{len(lrs)} of {find.num_iter} steps"
        return f"range test: the loss blew up at {lrs[-1]:.3g}, after {steps}"
    return f"range test: reached lr_find.{find.mode}.end_lr, {lrs[-1]:.3g}, in {len(lrs)} steps"


def fp16_options(precision: str, device: torch.device) -> dict[str, Any]:
    """fp16 needs the gradient scaler, which torch-lr-finder takes with its own autocast."""
    if precision != "fp16":
        return {}
    return {
        "amp_backend": "torch",
        "amp_config": {"device_type": device.type, "dtype": DTYPES[precision]},
        "grad_scaler": torch.amp.GradScaler(device.type),
    }


def training_loader(split: Split, steps: int, settings: Settings) -> Batches:
    """The batches that training would begin with."""
    keys = BatchKeys(len(split), settings.train.batch_size, settings.seed, 0, steps)
    augmented = Augmented(split, settings.augment)
    return augmented_batches(augmented, keys, settings.workers, settings.device)


def validation_loader(
    data: TrainingData, linear: LinearRange, seed: int
) -> DataLoader[tuple[Tensor, ...]]:
    """lr_find.linear.val_images of the validation split, stratified: run after every step."""
    assert data.validation is not None  # params.py refuses `linear` without a split
    split = data.validation
    if linear.val_images < len(split):
        split = split.subset(sample(split.labels, linear.val_images, seed))
    tensors = TensorDataset(torch.from_numpy(split.images), torch.from_numpy(split.labels))
    return DataLoader(tensors, batch_size=EVAL_BATCH, generator=torch.Generator())


def read_curve(lrs: list[float], losses: list[float], find: LrFind) -> Found:
    """The rates of a raw curve."""
    span, finite = tested_range(find), finite_part(lrs, losses)
    try:
        fall = find_fall(lrs, losses, find.mode)
    except NoFall as why:
        return Found(*finite, {}, {}, str(why))
    base_lr, max_lr = bounds(fall)
    measured = {**suggest(fall), "base_lr": base_lr, "max_lr": max_lr}
    rates = {name: snap(rate, span.start_lr, span.end_lr) for name, rate in measured.items()}
    return Found(*finite, measured, rates)
