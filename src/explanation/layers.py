"""Which layers of a network Grad-CAM can explain."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from src.data.records import SIDE
from src.device import memory_for


def map_layers(model: nn.Module) -> list[str]:
    """The last of the outermost layers of each size of maps: layer1 to layer4 of a ResNet.

    A map has more than one pixel. A network without maps has no such layer.
    """
    last: dict[tuple[int, ...], str] = {}
    names = [name for name, _ in model.named_modules() if name]
    for name, shape in output_shapes(model, names).items():
        size = shape[2:]
        # A block may begin with maps of the size that the layer before it ended with.
        if has_maps(shape) and name.count(".") <= last.get(size, name).count("."):
            last[size] = name
    return list(last.values())


def has_maps(shape: torch.Size) -> bool:
    """Whether an output is (B, C, H, W) with more than one pixel.

    The images are square, so their maps are; (B, H, W, C), as within a ConvNeXt, is not, unless C
    happens to be W.
    """
    return len(shape) == 4 and shape[2] == shape[3] > 1


@torch.no_grad()
def output_shapes(model: nn.Module, layers: Sequence[str]) -> dict[str, torch.Size]:
    """What each module gives for one black image, in the order in which they end; an empty shape
    where it gives no tensor. model: in evaluation mode."""
    shapes = dict.fromkeys(layers, torch.Size())

    def note(layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            del shapes[layer]
            shapes[layer] = output.shape if isinstance(output, Tensor) else torch.Size()

        return hook

    hooks = [model.get_submodule(layer).register_forward_hook(note(layer)) for layer in layers]
    try:
        with memory_for("one image"):
            model(torch.zeros(1, 3, SIDE, SIDE, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes
