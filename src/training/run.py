"""A training run: its whole state, and what a step and an epoch do to it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from src.data.augment import Augment
from src.data.batches import Augmented, BatchKeys, Normalize, augmented_batches, to_device
from src.data.training_data import TrainingData
from src.device import autocast
from src.pipeline.errors import InputError
from src.pipeline.params import Params
from src.training.checkpoint import State
from src.training.cuda_graph import RecordedStep, Work
from src.training.schedule import build_scheduler
from src.training.step import make_optimizer, memory_for, resize, validate

Row = dict[str, float]
# Each overflow halves the loss scale from 65,536; below this it is no overflow any more.
MIN_SCALE = 1.0


@dataclass(frozen=True)
class Settings:
    """What a run rests on beside params.yaml. lr, base_lr: resolved rates."""

    lr: float
    base_lr: float
    device: torch.device
    precision: str
    workers: int


class Run:
    """The whole state of a training run; `state` and `restore` are its picture on disk."""

    def __init__(
        self, model: nn.Module, data: TrainingData, params: Params, settings: Settings
    ) -> None:
        self.data, self.params, self.settings = data, params, settings
        device = settings.device
        self.model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.normalize = Normalize(data.mean, data.std, device)
        self.optimizer = make_optimizer(model, params, settings.lr)
        self.per_epoch = max(1, len(data.train) // params.train.batch_size)
        self.total_steps = params.train.epochs * self.per_epoch
        self.scheduler = build_scheduler(
            self.optimizer, params.train, settings.lr, settings.base_lr, self.per_epoch
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.step = 0
        self.history: list[Row] = []
        # Summed on the device since the epoch began: loss, correct; and the first bad step or -1.
        self.sums = torch.zeros(2, device=device)
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        # The device's own count of steps, for what must not wait for the host's.
        self.steps_done = torch.zeros((), dtype=torch.int64, device=device)
        # fp16's scaler keeps values on the host, which a graph would never read again.
        graph = device.type == "cuda" and not self.scaler.is_enabled()
        self.device_step: Work = (
            RecordedStep(self.compute, self.optimizer, self.altered()) if graph else self.compute
        )

    def batches(self) -> Any:
        """The loader of all batches that are still to come."""
        batch_size, seed = self.params.train.batch_size, self.params.seed
        keys = BatchKeys(len(self.data.train), batch_size, seed, self.step, self.total_steps)
        dataset = Augmented(self.data.train, Augment(self.params.augment, seed))
        return augmented_batches(dataset, keys, self.settings.workers, self.settings.device)

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """One update from (B, 32, 32, 3) uint8 images; nothing waits for the device."""
        with memory_for(len(images)):
            self.device_step(images, labels, self.side(self.step))
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        self.step += 1

    def compute(self, images: Tensor, labels: Tensor, side: int) -> None:
        """What the device does in a step; of the host's values it reads the rate alone."""
        targets = to_device(labels, self.settings.device)
        inputs = resize(self.normalize(images), side)
        with autocast(self.settings.precision, self.settings.device):
            logits = self.model(inputs).float()
        smoothing = self.params.train.label_smoothing
        loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        self.scaler.scale(loss).backward()
        self.update(loss.detach())
        with torch.no_grad():
            # Without smoothing, so that it can be compared with the validation's.
            plain = F.cross_entropy(logits, targets, reduction="sum")
            self.sums += torch.stack([plain, (logits.argmax(1) == targets).sum()])
        self.steps_done += 1

    def altered(self) -> list[Tensor]:
        """Every tensor that a step changes for the next."""
        momentum = [self.optimizer.state[p]["momentum_buffer"] for p in self.model.parameters()]
        counts = [self.sums, self.first_bad, self.steps_done]
        return [*self.model.state_dict().values(), *momentum, *counts]

    def side(self, step: int) -> int:
        """The side of the images at a step, in pixels: equal shares of training for each."""
        resolutions = self.params.train.resolution
        return resolutions[step * len(resolutions) // self.total_steps]

    def update(self, loss: Tensor) -> None:
        """Step the optimizer unless the loss or a gradient is not finite."""
        if self.scaler.is_enabled():
            # fp16 gradients overflow now and then: the scaler skips those by itself.
            bad = ~torch.isfinite(loss)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            bad = ~torch.isfinite(torch.nn.utils.get_total_norm(gradients) + loss)
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        first = bad & (self.first_bad < 0)
        self.first_bad.copy_(torch.where(first, self.steps_done, self.first_bad))

    def check_finite(self) -> None:
        """InputError where an update was skipped as not finite.

        In fp16 single overflows are usual: there so many that the loss scale fell below 1.
        """
        step = int(self.first_bad.item())
        if step >= 0:
            raise self.diverged(step)
        if self.scaler.is_enabled() and self.scaler.get_scale() < MIN_SCALE:
            raise self.diverged(self.step - 1)

    def diverged(self, step: int) -> InputError:
        epoch, batch = divmod(step, self.per_epoch)
        return InputError(
            f"training diverged: the loss or a gradient was not finite at epoch {epoch + 1}, "
            f"step {batch + 1} of {self.per_epoch}, near learning rate {self.lr:g}. "
            f"Lower it: `dvc exp run -S train.lr={self.settings.lr / 10:g}`"
            + ("" if self.settings.precision == "fp32" else ", or set train.precision: fp32")
        )

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def epoch_is_full(self) -> bool:
        return self.step // self.per_epoch > len(self.history)

    def end_epoch(self, check_stop: Callable[[], None]) -> Row:
        """Validate, step the plateau, and note the epoch's row."""
        self.check_finite()
        seen = self.per_epoch * self.params.train.batch_size
        loss, correct = self.sums.tolist()
        row: Row = {"epoch": len(self.history) + 1, "lr": self.lr}
        row |= {"train_loss": loss / seen, "train_accuracy": correct / seen}
        if self.data.validation is not None:
            val_loss, val_accuracy = validate(
                self.model,
                self.data.validation,
                self.normalize,
                self.settings.precision,
                self.side(self.step - 1),
                check_stop,
            )
            if not math.isfinite(val_loss):
                raise self.diverged(self.step - 1)
            row |= {"val_loss": val_loss, "val_accuracy": val_accuracy}
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(val_loss)
        self.sums.zero_()
        self.history.append(row)
        return row

    def state(self) -> State:
        """Everything that the next step depends on: tensors, and JSON-able values."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            tensors[f"momentum.{name}"] = self.optimizer.state[parameter]["momentum_buffer"]
        tensors["sums"] = self.sums
        return tensors, {
            "step": self.step,
            "history": self.history,
            "lr": self.lr,
            # What is infinite is as in a new scheduler, and JSON has no word for it.
            "scheduler": {
                key: value
                for key, value in self.scheduler.state_dict().items()
                if value != math.inf
            },
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: State) -> None:
        tensors, values = state
        model = {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}
        self.model.load_state_dict(model)
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter]["momentum_buffer"].copy_(tensors[f"momentum.{name}"])
        self.sums.copy_(tensors["sums"])
        self.step, self.history = values["step"], values["history"]
        self.steps_done.fill_(self.step)
        self.scheduler.load_state_dict(values["scheduler"])
        self.scaler.load_state_dict(values["scaler"])
        self.optimizer.param_groups[0]["lr"] = values["lr"]
