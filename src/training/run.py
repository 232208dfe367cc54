"""A training run: its whole state, and what a step and an epoch do to it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from src.data.batches import (
    Augmented,
    Batches,
    BatchKeys,
    augmented_batches,
    check_batch_size,
)
from src.data.dataset import TrainingData
from src.data.normalize import Normalize
from src.device import memory_for
from src.pipeline.errors import InputError
from src.training.average import Average
from src.training.checkpoint import State
from src.training.cuda_graph import RecordedStep, Work
from src.training.history import Row
from src.training.mix import Mixture
from src.training.optimizer import make_optimizer, set_rate
from src.training.schedule import Rates, begin_anew, build_scheduler, stalled
from src.training.settings import Settings, faults_of_step, key_draws
from src.training.step import Step
from src.training.validation import validate


def check_sizes(sizes: int, steps: int) -> None:
    """InputError where a size of train.resolution would have no step."""
    if steps < sizes:
        raise InputError(
            f"train.resolution: {sizes} sizes are too many for {steps} steps, of which each size "
            "gets a share (params.yaml)"
        )


class Run:
    """The whole state of a training run; `state` and `restore` are its picture on disk."""

    def __init__(
        self, model: nn.Module, data: TrainingData, settings: Settings, rates: Rates
    ) -> None:
        self.data, self.settings, self.rates = data, settings, rates
        train, device = settings.train, settings.device
        with memory_for("the network"):
            self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # By itself: a network's own `train` may return nothing.
        self.model.train()
        self.normalize = Normalize(data.mean, data.std, device)
        self.optimizer = make_optimizer(model, settings.optimizer, rates.start)
        check_batch_size(train.batch_size, len(data.train))
        self.per_epoch = len(data.train) // train.batch_size
        self.total_steps = train.epochs * self.per_epoch
        check_sizes(len(train.resolution), self.total_steps)
        self.scheduler = build_scheduler(self.optimizer, train, rates, self.per_epoch)
        mixed = train.mix.kind != "none"
        self.mixture = Mixture(train.mix, settings.seed, device) if mixed else None
        self.average = Average(model, train.average.decay) if train.average else None
        self.compute = Step(
            model,
            self.normalize,
            self.optimizer,
            train.label_smoothing,
            settings.precision,
            self.mixture,
            self.average,
        )
        # fp16's scaler keeps values on the host, which a graph would never read again.
        graph = device.type == "cuda" and settings.precision != "fp16"
        self.device_step: Work = (
            RecordedStep(self.compute, self.optimizer, self.compute.altered)
            if graph
            else self.compute
        )
        self.step = 0
        self.history: list[Row] = []
        self.spent = 0.0  # seconds, on the steps of an epoch that is not closed

    @property
    def result(self) -> nn.Module:
        """The network that is validated and, in the end, written."""
        return self.model if self.average is None else self.average.model

    def batches(self) -> Batches:
        """The loader of all batches that are still to come."""
        settings, images = self.settings, self.data.train
        keys = BatchKeys(
            len(images), settings.train.batch_size, settings.seed, self.step, self.total_steps
        )
        dataset = Augmented(images, settings.augment)
        return augmented_batches(dataset, keys, settings.workers, settings.device)

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """One update from (B, 32, 32, 3) uint8 images; nothing waits for the device."""
        key_draws(self.settings.device, self.settings.seed, self.step)
        with faults_of_step(len(images)):
            if self.mixture is not None:
                self.mixture.prepare(self.step)
            self.device_step(images, labels, self.side(self.step))
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        self.step += 1

    def side(self, step: int) -> int:
        """The side of the images at a step, in pixels: equal shares of training for each."""
        resolutions = self.settings.train.resolution
        return resolutions[step * len(resolutions) // self.total_steps]

    def check_finite(self) -> None:
        """InputError where training has diverged. Waits for the device."""
        step = self.compute.diverged_at()
        if step is not None:
            epoch, batch = divmod(step, self.per_epoch)
            place = f"at epoch {epoch + 1}, step {batch + 1} of {self.per_epoch}"
            raise self.diverged(f"the loss or a gradient was not finite {place}")

    def diverged(self, what: str) -> InputError:
        return InputError(
            f"training diverged: {what}, near learning rate {self.lr:g}. "
            f"Lower it: `dvc exp run -S train.lr={self.rates.peak / 10:g}`"
            + ("" if self.settings.precision == "fp32" else ", or set train.precision: fp32")
        )

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def epoch_is_full(self) -> bool:
        return self.step // self.per_epoch > len(self.history)

    def has_stalled(self) -> bool:
        """Whether train.stop ends the training here, by the losses at the last image size."""
        train = self.settings.train
        if train.stop is None:
            return False
        ends = enumerate(self.history, start=1)
        losses = [
            row["val_loss"]
            for epoch, row in ends
            if self.side(epoch * self.per_epoch - 1) == train.resolution[-1]
        ]
        return stalled(losses, train.stop)

    def end_epoch(self, check_stop: Callable[[], None]) -> Row:
        """Validate, step the plateau, and note the epoch's row."""
        precision, side = self.settings.precision, self.side(self.step - 1)
        if self.average is not None:
            # Dropout draws here too.
            key_draws(self.settings.device, self.settings.seed, self.step)
            self.average.complete(self.data.train, self.normalize, precision, side, check_stop)
        seen = self.per_epoch * self.settings.train.batch_size
        loss, correct = self.compute.sums.tolist()
        row: Row = {"epoch": len(self.history) + 1, "lr": self.lr}
        row |= {"train_loss": loss / seen, "train_accuracy": correct / seen}
        if self.data.validation is not None:
            val_loss, val_accuracy = validate(
                self.result, self.data.validation, self.normalize, precision, side, check_stop
            )
            if not math.isfinite(val_loss):
                raise self.diverged(
                    f"the validation loss was not finite after epoch {row['epoch']}"
                )
            row |= {"val_loss": val_loss, "val_accuracy": val_accuracy}
            if isinstance(self.scheduler, ReduceLROnPlateau):
                if side != self.side(max(0, self.step - 1 - self.per_epoch)):
                    begin_anew(self.scheduler)
                self.scheduler.step(val_loss)
        self.compute.sums.zero_()
        self.history.append(row)
        return row

    def state(self) -> State:
        """Everything that the next step depends on: tensors, and JSON-able values."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            tensors[f"momentum.{name}"] = self.optimizer.state[parameter]["momentum_buffer"]
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.model.state_dict().items()}
        tensors["sums"] = self.compute.sums
        # JSON has no infinity; an infinite value is the one that a new scheduler has.
        finite = {k: v for k, v in self.scheduler.state_dict().items() if v != math.inf}
        return tensors, {
            "step": self.step,
            "history": self.history,
            "spent": self.spent,
            "lr": self.lr,
            "scheduler": finite,
            "scaler": self.compute.scaler.state_dict(),
        }

    def restore(self, state: State) -> None:
        """Become the run whose `state` this was."""
        tensors, values = state
        self.model.load_state_dict(within("model.", tensors))
        if self.average is not None:
            self.average.model.load_state_dict(within("average.", tensors))
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter]["momentum_buffer"].copy_(tensors[f"momentum.{name}"])
        self.compute.sums.copy_(tensors["sums"])
        self.step, self.history = values["step"], values["history"]
        self.spent = values["spent"]
        self.compute.done.fill_(self.step)
        self.scheduler.load_state_dict(values["scheduler"])
        self.compute.scaler.load_state_dict(values["scaler"])
        set_rate(self.optimizer, values["lr"])


def within(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
