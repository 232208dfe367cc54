"""Where pictures come from, by name: `data.source` in params.yaml takes any of these.

A source is a function of the data section. It returns train and test records, both (N, 3073) in
canonical order, and the class names by label. To add one, write a module with such a function, and
name it in SOURCES.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from src.pipeline.errors import InputError
from src.pipeline.params import Data
from src.sources.cifar import CIFAR10, CIFAR100, load_cifar
from src.sources.folder import load_folder
from src.sources.shapes import load_shapes

Dataset = tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]

SOURCES: dict[str, Callable[[Data], Dataset]] = {
    "cifar10": lambda _: load_cifar(CIFAR10),
    "cifar100": lambda _: load_cifar(CIFAR100),
    "folder": load_folder,
    "shapes": lambda data: load_shapes(data.shapes.train, data.shapes.test, data.shapes.seed),
}


def load_source(data: Data) -> Dataset:
    """What the source that `data.source` names returns; InputError where there is none."""
    if data.source not in SOURCES:
        raise InputError(
            f"data.source: {data.source!r} is not one of {', '.join(SOURCES)} (params.yaml)"
        )
    return SOURCES[data.source](data)
