"""How steps are made, in training and in the range test: the settings, the draws, the memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from src.data.augment import Augment, Transform
from src.data.batches import worker_count
from src.device import NOT_DETERMINISTIC, memory_for, start
from src.pipeline.errors import InputError
from src.pipeline.params import Optimizer, Train


@dataclass(frozen=True)
class Settings:
    """How training and the range test make their steps: values of params.yaml, and the machine."""

    train: Train
    optimizer: Optimizer
    augment: Augment
    seed: int
    device: torch.device
    precision: str
    workers: int


def prepare(
    train: Train, optimizer: Optimizer, augment: Sequence[Transform], seed: int
) -> Settings:
    """Set the machine up; InputError for a device, a precision or a transform that cannot be."""
    # This comes first, so that an unknown transform is named before data are read.
    augmentation = Augment(augment, seed)
    device, precision = start(train.precision, train.deterministic)
    if precision == "fp16" and device.type == "mps":
        # Its fused SGD neither unscales nor skips overflows (pytorch/pytorch#186360).
        raise InputError(
            "train.precision: fp16 cannot be trained on mps; auto takes what it can (params.yaml)"
        )
    workers = worker_count(device)
    return Settings(train, optimizer, augmentation, seed, device, precision, workers)


@contextmanager
def faults_of_step(images: int) -> Iterator[None]:
    """InputError where the memory is too small for a step of so many images, or where the network
    has a layer that this device computes in no fixed order."""
    try:
        with memory_for(f"train.batch_size: a step of {images:,} images", "lower it (params.yaml)"):
            yield
    except RuntimeError as error:
        if NOT_DETERMINISTIC not in str(error):
            raise
        raise InputError(
            f"train.deterministic: the network needs {str(error).split()[0]}, which has no "
            "deterministic form on this device; set it to false (params.yaml)"
        ) from error


def key_draws(device: torch.device, seed: int, step: int) -> None:
    """Let what dropout and the like draw in a step depend on seed and step alone.

    They draw from torch's own generators, whose state no checkpoint holds.
    """
    # Mixed, because the CPU's generator takes no more than 32 bits of a seed.
    key = int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    elif device.type == "mps":
        torch.mps.manual_seed(key)
