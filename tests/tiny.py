"""A network, parameters and settings with which a run takes milliseconds."""

from pathlib import Path
from typing import Any

import torch

from src.pipeline.params import Params
from src.training.checkpoint import Checkpoint
from src.training.fit import EpochLog, fit
from src.training.run import Row, Settings
from tests.conftest import tiny_data, tiny_values

CPU = torch.device("cpu")


class TinyNet(torch.nn.Module):
    """Convolution, batch norm, linear layer: all that a run touches. steps: batches trained on."""

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
                layer.bias.zero_()  # type: ignore[union-attr]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        return self.fc(self.bn(self.conv1(images)).relu().mean((2, 3)))


def params(**train: Any) -> Params:
    values = tiny_values()
    values["train"] |= {"resolution": [32], "epochs": 3, "batch_size": 16, **train}
    return Params.model_validate(values)


def settings(lr: float = 0.05, precision: str = "fp32") -> Settings:
    return Settings(lr=lr, base_lr=0.01, device=CPU, precision=precision, workers=0)


def train(
    folder: Path,
    wanted: Params,
    used: Settings,
    model: torch.nn.Module | None = None,
    log_kind: type[EpochLog] = EpochLog,
) -> tuple[list[Row], torch.nn.Module]:
    model = model or TinyNet()
    checkpoint = Checkpoint(folder / "resume", "run", wanted.train.checkpoint_seconds)
    log = log_kind(folder / "training.csv", folder / "train.jsonl", "run", 0.0)
    return fit(model, tiny_data(), wanted, used, checkpoint, log), model
