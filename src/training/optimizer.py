"""SGD with momentum."""

import torch
from torch import nn

from src.pipeline.params import Optimizer


def make_optimizer(model: nn.Module, settings: Optimizer, lr: float) -> torch.optim.SGD:
    """Fused SGD whose momentum buffers exist from the start and are all zero."""
    optimizer = torch.optim.SGD(
        model.parameters(),
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
