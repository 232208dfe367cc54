"""Which layers of a network Grad-CAM can explain."""

from typing import Any

import torch
from torch import Tensor, nn

from src.data.records import SIDE


def map_layers(model: nn.Module) -> list[str]:
    """The last of the outermost layers of each size of maps: layer1 to layer4 of a ResNet.

    A map has more than one pixel. A network without maps has no such layer.
    """
    last: dict[torch.Size, str] = {}
    names = {module: name for name, module in model.named_modules() if name}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.dim() != 4 or output.shape[2:].numel() == 1:
            return
        size, name = output.shape[2:], names[module]
        # A block may begin with maps of the size that the layer before it ended with.
        if name.count(".") <= last.get(size, name).count("."):
            last[size] = name

    hooks = [module.register_forward_hook(note) for module in names]
    device = next(model.parameters()).device
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, SIDE, SIDE, device=device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return list(last.values())
