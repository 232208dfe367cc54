"""The exponential mean of the weights over the steps (Polyak & Juditsky 1992)."""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn


class Average:
    """The mean of a network's weights over the steps, in which newer steps weigh more.

    model: a copy of the network with the mean weights and the mean batch-norm statistics; decay:
    the factor by which a step's weight falls with each further step, so the mean covers about
    the last 1 / (1 - decay) steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = deepcopy(model).requires_grad_(False), decay
        pairs = list(
            zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        )
        # Batch norm's count of its batches is an integer, and nothing depends on it.
        self.means = [mean for mean, _ in pairs if mean.is_floating_point()]
        self.present = [now for _, now in pairs if now.is_floating_point()]

    @torch.no_grad()
    def update(self, done: Tensor) -> None:
        """Take in the network as it is; done: () steps before this one, on the device.

        The weights sum to 1 at each step, so the mean holds nothing of the initial network.
        """
        # 1 - decay^(done + 1), in a form that keeps its digits in fp32.
        total = -torch.expm1(math.log(self.decay) * (done + 1).float())
        changes = torch._foreach_sub(self.present, self.means)
        torch._foreach_mul_(changes, (1 - self.decay) / total)
        torch._foreach_add_(self.means, changes)
