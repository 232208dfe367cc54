"""SGD with momentum."""

from typing import Any

import torch
from torch import Tensor, nn

from src.pipeline.params import Optimizer


def make_optimizer(model: nn.Module, settings: Optimizer, lr: float) -> torch.optim.SGD:
    """Fused SGD whose momentum buffers exist from the start and are all zero.

    Without settings.decay_norm, batch norm and biases have a group of their own, without decay.
    """
    optimizer = torch.optim.SGD(
        groups(model, settings.decay_norm),
        lr=lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    # Without this, a first step that found_inf skips would leave the buffers unwritten.
    for parameter in model.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def groups(model: nn.Module, decay_norm: bool) -> list[dict[str, Any]]:
    """The parameters as SGD takes them: in one group, or those of one dimension apart."""
    parameters = list(model.parameters())
    if decay_norm:
        return [{"params": parameters}]
    return [
        {"params": [p for p in parameters if p.dim() > 1]},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def set_rate(optimizer: torch.optim.Optimizer, lr: float | Tensor) -> None:
    """Give all groups the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
