"""SGD with momentum."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.sgd import sgd

from src.pipeline import params


class SGD(torch.optim.SGD):
    """torch's SGD, fused, to the bit the same, without loading torch.compile.

    torch's methods load torch._dynamo to keep it from compiling them, which takes as long as all
    else that a training does before its first step. Nothing here is compiled.
    """

    add_param_group = Optimizer.add_param_group.__wrapped__  # type: ignore[attr-defined]
    zero_grad = Optimizer.zero_grad.__wrapped__  # type: ignore[attr-defined]
    state_dict = Optimizer.state_dict.__wrapped__  # type: ignore[attr-defined]
    load_state_dict = Optimizer.load_state_dict.__wrapped__  # type: ignore[attr-defined]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update; a closure, with which some optimizers compute the loss anew, is refused."""
        if closure is not None:
            raise ValueError("SGD takes no closure")
        for group in self.param_groups:
            parameters: list[Tensor] = []
            gradients: list[Tensor] = []
            momentum: list[Tensor | None] = []
            self._init_group(group, parameters, gradients, momentum)
            sgd(
                parameters,
                gradients,
                momentum,
                fused=True,
                # A gradient scaler, and whoever finds what is not finite, leave these here.
                grad_scale=getattr(self, "grad_scale", None),
                found_inf=getattr(self, "found_inf", None),
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
            )


def make_optimizer(model: nn.Module, settings: params.Optimizer, lr: float) -> SGD:
    """Fused SGD whose momentum buffers exist from the start and are all zero.

    Without settings.decay_norm, normalisation and biases have a group of their own, without decay.
    """
    optimizer = SGD(
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
    """The parameters as SGD takes them: in one group, or those of normalisation and of one
    dimension apart."""
    parameters = list(model.parameters())
    if decay_norm:
        return [{"params": parameters}]
    # Over (C, H, W), say, theirs have as many dimensions.
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm | nn.RMSNorm)]
    spared = {id(p) for norm in norms for p in norm.parameters()}
    spared |= {id(p) for p in parameters if p.dim() <= 1}
    return [
        {"params": [p for p in parameters if id(p) not in spared]},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]


def set_rate(optimizer: Optimizer, lr: float | Tensor) -> None:
    """Give all groups the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
