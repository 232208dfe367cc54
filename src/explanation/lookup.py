"""What params.yaml asks of the gradcam stage by name or number: found, or refused in a sentence."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.data.records import SIDE
from src.device import memory_for
from src.pipeline.errors import InputError


def near(name: str, names: Sequence[str]) -> str:
    """The names most like this one; the first few where none is like it."""
    return ", ".join(get_close_matches(name, names) or names[:8])


def layer_sizes(model: nn.Module, layers: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Height and width of each layer's maps.

    layers: module paths, as in model.named_modules().
    Raises InputError for a path that the model lacks, and for a module without maps.
    """
    paths = [path for path, _ in model.named_modules() if path]
    # The outermost first, which are named where no path is like the one asked for.
    paths.sort(key=lambda path: path.count("."))
    for layer in layers:
        if layer not in paths:
            raise InputError(
                f"gradcam.layers: {layer!r} is not a module of the network; near it: "
                f"{near(layer, paths)} (params.yaml)"
            )
    shapes = output_shapes(model, layers)
    for layer, shape in shapes.items():
        if len(shape) != 4 or shape[2] * shape[3] < 2:
            raise InputError(
                f"gradcam.layers: {layer!r} gives {per_image(shape)} for an image, but an "
                "explanation needs channels × height × width; name a layer or a convolution "
                "(params.yaml)"
            )
    return {layer: (shape[2], shape[3]) for layer, shape in shapes.items()}


def per_image(shape: torch.Size) -> str:
    return " × ".join(map(str, shape[1:])) or "no tensor"


@torch.no_grad()
def output_shapes(model: nn.Module, layers: Sequence[str]) -> dict[str, torch.Size]:
    """What each module gives for one black image; an empty shape where it gives no tensor."""
    shapes = dict.fromkeys(layers, torch.Size())

    def note(layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
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


def check_target(target: str, classes: Sequence[str]) -> None:
    """InputError unless it is predicted, true or the name of a class."""
    known = ["predicted", "true", *classes]
    if target not in known:
        raise InputError(
            f"gradcam.target: {target!r} is not predicted, true or a class of data/classes.txt; "
            f"near it: {near(target, known)} (params.yaml)"
        )


def find_targets(
    target: str, classes: Sequence[str], predicted: NDArray[np.int64], actual: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The class to explain of each image; predicted, actual: (B,) class indices."""
    if target == "predicted":
        return predicted
    return actual if target == "true" else np.full_like(actual, classes.index(target))


def check_images(images: Sequence[int], count: int) -> None:
    """InputError unless these are indices of `count` test images."""
    if images and (highest := max(images)) >= count:
        raise InputError(
            f"gradcam.images: {highest} is not one of the {count:,} test images, which are 0 to "
            f"{count - 1:,} (params.yaml)"
        )
