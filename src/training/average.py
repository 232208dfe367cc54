"""The exponential mean of the weights over the steps (Polyak & Juditsky 1992)."""

from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import torch
from numpy.random import Generator, Philox
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

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
        self.means: list[Tensor] = [*self.model.parameters()]
        self.present: list[Tensor] = [*model.parameters()]
        self.buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, done: Tensor) -> None:
        """Take in the weights as they are; done: () steps before this one, on the device.

        The first step's weights replace the initial ones: nothing of these is left.
        """
        share = (10 / (done + 10)).clamp(min=1 - self.decay)
        changes = torch._foreach_sub(self.present, self.means)
        torch._foreach_mul_(changes, share)
        torch._foreach_add_(self.means, changes)

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

        with (
            memory_for(f"taking batch norm's statistics of {EVAL_BATCH} images at a time"),
            autocast(precision, normalize.device),
        ):
            update_bn(inputs(), self.model)
        taken = taken_anew(self.model)
        for mean, present in self.buffers:
            if id(mean) not in taken:
                mean.copy_(present)


def statistics_rows(images: int) -> NDArray[np.int64]:
    """Up to 4,000 images in whole batches, or all where they fill none: each batch counts alike."""
    count = min(images, STATISTICS_IMAGES)
    if count > EVAL_BATCH:
        count -= count % EVAL_BATCH
    # By chance, because a data set of yours may be sorted by class.
    return Generator(Philox(0)).permutation(images)[:count]


def taken_anew(model: nn.Module) -> set[int]:
    """The ids of the statistics that update_bn has taken; it takes none of a frozen layer's."""
    return {
        id(buffer)
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.num_batches_tracked
        for buffer in module.buffers()
    }
