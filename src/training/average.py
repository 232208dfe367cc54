"""The exponential mean of the weights over the steps (Polyak & Juditsky 1992)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeGuard

import numpy as np
import torch
from numpy.random import Generator, Philox
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from src.data.normalize import EVAL_BATCH, Normalize, plain_batches, resize
from src.data.records import Split
from src.device import autocast, memory_for

STATISTICS_IMAGES = 4000


class Average:
    """The mean of a network's weights over the steps, in which newer steps weigh more.

    model: a copy of the network with the mean weights, to be used after `complete`; decay: the
    factor by which a step's weight falls with each further step, so the mean covers about the
    last 1 / (1 - decay) steps. While fewer than ten times as many are done it covers about the last
    tenth of them: a short training would end with a mean of its first steps. (TensorFlow's
    ExponentialMovingAverage does much the same with num_updates.)
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = deepcopy(model).requires_grad_(False), decay
        self.network = model
        self.means: list[Tensor] = [*self.model.parameters()]
        self.present: list[Tensor] = [*model.parameters()]

    @torch.no_grad()
    def update(self, done: Tensor) -> None:
        """Take in the weights as they are; done: () steps before this one, on the device.

        The first step's weights replace the initial ones: nothing of these is left.
        """
        share = (10 / (done + 10)).clamp(min=1 - self.decay)
        changes = torch._foreach_sub(self.present, self.means)
        torch._foreach_mul_(changes, share)
        torch._foreach_add_(self.means, changes)

    @torch.no_grad()
    def complete(
        self,
        train: Split,
        normalize: Normalize,
        precision: str,
        side: int,
        check_stop: Callable[[], None],
    ) -> None:
        """Take batch norm's statistics anew, over some training images as they are.

        Those of the steps do not fit: the mean of weights that turn is shorter than they are.
        Other buffers become the network's own. side: the images' side in pixels; check_stop:
        called before each batch; it raises to stop.
        """
        images = train.subset(statistics_rows(len(train)))

        def inputs() -> Iterator[Tensor]:
            for batch, _ in plain_batches(images):
                check_stop()
                yield resize(normalize(batch), side)

        # First of all: the layers after a frozen one see what it gives.
        self.take_over()
        self.model.train()
        layers = [layer for layer in self.model.modules() if learns(layer)]
        if not layers:
            return
        with (
            memory_for(f"taking batch norm's statistics of {EVAL_BATCH} images at a time"),
            autocast(precision, normalize.device),
            plain_mean(layers),
        ):
            for batch in inputs():
                self.model(batch)
        # These images are no training: what else they have changed goes.
        self.take_over(but=[layer for layer in layers if layer.num_batches_tracked])

    def take_over(self, but: Sequence[nn.Module] = ()) -> None:
        """Make the buffers those of the network, but for some layers'."""
        kept = {id(buffer) for layer in but for buffer in layer.buffers()}
        # As they are now: a forward pass may assign a buffer anew.
        present_ones = dict(self.network.named_buffers(remove_duplicate=False))
        for name, mean in self.model.named_buffers(remove_duplicate=False):
            present = present_ones[name]
            if id(mean) not in kept:
                mean.copy_(present)


def statistics_rows(images: int) -> NDArray[np.int64]:
    """Up to 4,000 images in whole batches, or all where they fill none: each batch counts alike."""
    count = min(images, STATISTICS_IMAGES)
    if count > EVAL_BATCH:
        count -= count % EVAL_BATCH
    # By chance, because a data set of yours may be sorted by class.
    return Generator(Philox(0)).permutation(images)[:count]


def learns(module: nn.Module) -> TypeGuard[_BatchNorm]:
    """Whether training changes a layer's statistics: it is not frozen, in one of three ways."""
    return (
        isinstance(module, _BatchNorm)
        and module.training
        and module.track_running_stats
        and module.momentum != 0
    )


@contextmanager
def plain_mean(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let batch norm take its statistics anew, as the mean over the batches that follow.

    The first batch replaces what there is, so a layer that sees none keeps it.
    """
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.zero_()
        layer.momentum = None
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
