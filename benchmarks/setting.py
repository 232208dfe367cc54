"""What the benchmarks share: the quick recipe, the built-in sample as data, a clock."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from recipes.run import merge, read_recipe
from src.data.dataset import TrainingData
from src.data.records import Split
from src.network.resnet import build_model
from src.pipeline.params import Params
from src.sources.shapes import CLASSES, draw
from src.training.run import Run
from src.training.schedule import Rates
from src.training.settings import Settings, prepare

ROOT = Path(__file__).parents[1]
BATCH = 128
DRAWN = 1_000  # images; drawing 50,000 takes longer than what is measured
Wait = Callable[[], None]


def sample(images: int) -> TrainingData:
    """Images of the built-in sample; beyond DRAWN they are the first ones again."""
    pixels, labels, _ = draw(min(images, DRAWN), 0)
    split = Split(pixels, labels).subset(np.arange(images) % len(labels))
    return TrainingData(split, None, list(CLASSES), [0.5] * 3, [0.25] * 3)


def changed(params: Params, **sections: dict[str, Any]) -> Params:
    """A copy of params in which the sections have these values."""
    updates = {
        name: getattr(params, name).model_copy(update=values) for name, values in sections.items()
    }
    return params.model_copy(update=updates)


def quick_params() -> Params:
    """The quick recipe; the other loops mirror and shift images as it does."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    return Params.model_validate(merge(values, read_recipe("quick")))


def benchmark_params(epochs: int) -> Params:
    """The quick recipe at full size, without a validation split."""
    return changed(
        quick_params(),
        train={"epochs": epochs, "batch_size": BATCH, "resolution": [32], "schedule": "cosine"},
    )


def settings_of(params: Params) -> Settings:
    """The settings that the parameters give on this machine."""
    return prepare(params.train, params.optimizer, params.augment, params.seed)


def new_run(data: TrainingData, settings: Settings, lr: float = 0.01) -> Run:
    """A run of a new ResNet-18; a cycle's floor is a tenth of its peak."""
    network = build_model("resnet18", len(data.classes), settings.seed)
    return Run(network, data, settings, Rates(lr, lr, lr / 10))


def rate(steps: Iterator[object], count: int, images: int, wait: Wait) -> float:
    """Images a second over `count` steps."""
    wait()
    began = time.perf_counter()
    for _ in itertools.islice(steps, count):
        pass
    wait()
    return count * images / (time.perf_counter() - began)


def waiting(device: torch.device) -> Wait:
    """A function that returns when the device has finished all its work."""
    return torch.accelerator.synchronize if device.type != "cpu" else lambda: None
