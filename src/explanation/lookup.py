"""What params.yaml asks of the gradcam stage by name or number: found, or refused in a sentence."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.explanation.layers import has_maps, output_shapes
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
        if not has_maps(shape):
            raise InputError(
                f"gradcam.layers: {layer!r} gives {per_image(shape)} for an image, but an "
                "explanation needs channels × height × width, as high as wide, and more than one "
                "pixel; name an earlier layer or a convolution (params.yaml)"
            )
    return {layer: (shapes[layer][2], shapes[layer][3]) for layer in layers}


def per_image(shape: torch.Size) -> str:
    return " × ".join(map(str, shape[1:])) or "no tensor"


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
