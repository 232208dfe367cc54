"""A network, parameters and settings with which a run takes milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from src.data.augment import Augment
from src.data.dataset import TrainingData
from src.pipeline.params import Params
from src.training.checkpoint import Checkpoint
from src.training.fit import fit
from src.training.history import EpochLog, Row
from src.training.run import Run
from src.training.schedule import Rates, resolve_rates
from src.training.settings import Settings
from tests.conftest import tiny_data, tiny_values

CPU = torch.device("cpu")
DECISIVE = {"params.yaml: seed": 0, "src/training/fit.py": "abc", "threads": 2}
# A range test might find these rates.
FOUND = {
    "steep": 0.03, "valley": 0.02, "minimum": 0.02, "slide": 0.05, "base_lr": 0.01, "max_lr": 0.1
}  # fmt: skip

# Transforms as in params.yaml, none inside another.
PLAIN: list[dict[str, Any]] = [
    {"PadIfNeeded": {"min_height": 36, "min_width": 36, "border_mode": 4, "p": 1.0}},
    {"RandomCrop": {"height": 32, "width": 32, "p": 1.0}},
    {"HorizontalFlip": {"p": 0.5}},
    {
        "CoarseDropout": {
            "num_holes_range": [4, 4],
            "hole_height_range": [8, 8],
            "hole_width_range": [8, 8],
            "fill": [125, 123, 114],
            "p": 0.5,
        }
    },
]


class TinyNet(torch.nn.Module):
    """A convolution, batch norm and a linear layer: all kinds of layers that a run touches.

    steps: the number of batches that it was trained on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        generator = torch.Generator().manual_seed(0)
        self.conv1 = torch.nn.Conv2d(3, 8, 3, stride=4)
        self.bn = torch.nn.BatchNorm2d(8)
        self.fc = torch.nn.Linear(8, 10)
        with torch.no_grad():
            for layer in (self.conv1, self.fc):
                layer.weight.copy_(0.2 * torch.randn(layer.weight.shape, generator=generator))
                layer.bias.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        return self.fc(self.bn(self.conv1(images)).relu().mean((2, 3)))


def plateau(**values: float) -> dict[str, float]:
    """train.plateau with these values, whatever params.yaml has."""
    usual = {"factor": 0.5, "patience": 0, "cooldown": 0, "threshold": 0.0001, "min_lr": 0.0}
    return usual | values


class NoMemory(torch.nn.Module):
    """A network for which the memory is too small, as CUDA says it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.layer = torch.nn.Identity()

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def params(**train: Any) -> Params:
    values = tiny_values()
    values["train"] |= {"resolution": [32], "epochs": 3, "batch_size": 16, **train}
    return Params.model_validate(values)


def settings(
    wanted: Params, precision: str = "fp32", device: torch.device = CPU, workers: int = 0
) -> Settings:
    augment = Augment(wanted.augment, wanted.seed)
    return Settings(
        wanted.train, wanted.optimizer, augment, wanted.seed, device, precision, workers
    )


def rates(wanted: Params, lr: float = 0.05) -> Rates:
    return resolve_rates(wanted.train.model_copy(update={"lr": lr}), FOUND)


def new_run(
    wanted: Params, lr: float = 0.05, precision: str = "fp32", device: torch.device = CPU
) -> Run:
    """A run of a TinyNet on the tiny sample."""
    return Run(TinyNet(), tiny_data(), settings(wanted, precision, device), rates(wanted, lr))


def train(
    folder: Path,
    wanted: Params,
    lr: float = 0.05,
    precision: str = "fp32",
    *,
    model: torch.nn.Module | None = None,
    data: TrainingData | None = None,
    seconds: float = 60.0,
    device: torch.device = CPU,
    log_kind: Callable[..., EpochLog] = EpochLog,
) -> tuple[list[Row], torch.nn.Module]:
    """Run `fit` with its files in `folder` and a checkpoint each time `seconds` have passed."""
    model = model or TinyNet()
    checkpoint = Checkpoint(folder / "resume", DECISIVE, seconds)
    log = log_kind(folder / "training.csv", folder / "train.jsonl", "run", {"startup_seconds": 0.0})
    how = settings(wanted, precision, device)
    return fit(model, data or tiny_data(), how, rates(wanted, lr), checkpoint, log), model
