"""The learning-rate range test (Smith 2015, arXiv 1506.01186) on torch-lr-finder.

Exponential: the training loss of each step while the rate rises exponentially. Linear: the
validation loss after each step while it rises linearly, Smith's own form.
"""

import contextlib
import io
import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from src.data.augment import Augment
from src.data.batches import Augmented, BatchKeys, Normalize, augmented_batches
from src.data.records import Split
from src.data.split import sample
from src.data.training_data import TrainingData
from src.device import DTYPES, autocast
from src.lr_range.curve import bounds, finite_part, snap, suggest
from src.pipeline.params import Params
from src.training.step import EVAL_BATCH, make_optimizer, memory_for, resize

with warnings.catch_warnings():
    # It asks tqdm for a notebook's progress bar, which warns outside a notebook.
    warnings.simplefilter("ignore")
    from torch_lr_finder import LRFinder, lr_finder

# Its bar would fill the log of a queued run.
lr_finder.tqdm = partial(tqdm, disable=None)

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """What the range test found.

    lrs, losses: the finite part of the curve, a value a step; suggestions: by name, as
    measured; lr, base_lr, max_lr: snapped to 1, 2 or 5 × 10^k.
    """

    lrs: Curve
    losses: Curve
    suggestions: dict[str, float]
    lr: float
    base_lr: float
    max_lr: float


class StoppingFinder(LRFinder):  # type: ignore[misc]
    """torch-lr-finder that stops where the loss is not finite, as for any other blow-up."""

    def _train_batch(self, *args: Any, **kwargs: Any) -> float:
        return finite_or_inf(super()._train_batch(*args, **kwargs))

    def _validate(self, *args: Any, **kwargs: Any) -> float:
        return finite_or_inf(super()._validate(*args, **kwargs))


def finite_or_inf(loss: float) -> float:
    # It compares with "greater than", which no NaN ever is.
    return loss if math.isfinite(loss) else math.inf


class Prepared(nn.Module):
    """uint8 images to fp32 logits as in training, so validation is under autocast too."""

    def __init__(self, model: nn.Module, normalize: Normalize, precision: str, side: int) -> None:
        super().__init__()
        self.model, self.normalize, self.precision, self.side = model, normalize, precision, side

    def forward(self, images: Tensor) -> Tensor:
        with autocast(self.precision, self.normalize.device):
            logits: Tensor = self.model(resize(self.normalize(images), self.side))
        return logits.float()


def range_test(
    model: nn.Module,
    data: TrainingData,
    params: Params,
    device: torch.device,
    precision: str,
    workers: int,
) -> Found:
    """Raise the rate from lr_find.start_lr to end_lr and read the curve.

    `model` comes back as it went in. Raises InputError for a curve without a usable fall.
    """
    find, train = params.lr_find, params.train
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalize = Normalize(data.mean, data.std, device)
    finder = StoppingFinder(
        Prepared(model, normalize, precision, train.resolution[0]),
        make_optimizer(model, params, find.start_lr),
        nn.CrossEntropyLoss(label_smoothing=train.label_smoothing),
        device=device,
        **fp16_options(precision, device),
    )
    with contextlib.redirect_stdout(io.StringIO()), memory_for(train.batch_size):
        finder.range_test(
            training_loader(data.train, params, workers, device),
            val_loader=validation_loader(data, params) if find.mode == "linear" else None,
            end_lr=find.end_lr,
            num_iter=find.num_iter,
            step_mode="exp" if find.mode == "exponential" else "linear",
            smooth_f=0,
            # As in loader.py: elsewhere the host's memory may be freed before it is read.
            non_blocking_transfer=device.type == "cuda",
        )
    finder.reset()
    return read_curve(finder.history["lr"], finder.history["loss"], find.suggestion)


def fp16_options(precision: str, device: torch.device) -> dict[str, Any]:
    """fp16 needs the gradient scaler, which torch-lr-finder takes with its own autocast."""
    if precision != "fp16":
        return {}
    return {
        "amp_backend": "torch",
        "amp_config": {"device_type": device.type, "dtype": DTYPES[precision]},
        "grad_scaler": torch.amp.GradScaler(device.type),
    }


def training_loader(
    split: Split, params: Params, workers: int, device: torch.device
) -> DataLoader[tuple[Tensor, Tensor]]:
    """The batches that training would begin with."""
    steps = params.lr_find.num_iter
    keys = BatchKeys(len(split), params.train.batch_size, params.seed, 0, steps)
    augmented = Augmented(split, Augment(params.augment, params.seed))
    return augmented_batches(augmented, keys, workers, device)


def validation_loader(data: TrainingData, params: Params) -> DataLoader[tuple[Tensor, ...]]:
    """lr_find.val_images of the validation split, stratified: it is run after every step."""
    assert data.validation is not None  # params.py refuses `linear` without a split
    split = data.validation
    if params.lr_find.val_images < len(split):
        split = split.subset(sample(split.labels, params.lr_find.val_images, params.seed))
    tensors = TensorDataset(torch.from_numpy(split.images), torch.from_numpy(split.labels))
    return DataLoader(tensors, batch_size=EVAL_BATCH, generator=torch.Generator())


def read_curve(lrs: list[float], losses: list[float], chosen: str) -> Found:
    """The suggestions and bounds of a raw curve."""
    suggestions = suggest(lrs, losses)
    base_lr, max_lr = bounds(lrs, losses)
    return Found(
        *finite_part(lrs, losses),
        suggestions,
        lr=snap(suggestions[chosen]),
        base_lr=snap(base_lr),
        max_lr=snap(max_lr),
    )
