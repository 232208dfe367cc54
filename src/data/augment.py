"""Albumentations with keyed randomness; the only module that knows Albumentations.

Each image's draws come from generators keyed by (seed, epoch, index), so they are the same
in any process, in any order and after a resume. (Albumentations 2.0.8 alone repeats its draws
every epoch in worker processes, and Compose(seed=…) gives every transform the same stream.)
"""

import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from src.data.records import Split
from src.pipeline.errors import InputError

# Importing albumentations asks the network for a newer version unless this is set.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations
import cv2
from pydantic import ValidationError

# OpenCV's own threads would fight with the loader's processes and with torch.
cv2.setNumThreads(0)

Image = NDArray[np.uint8]
# {name: arguments}, as an entry of params.yaml.
Transform = Mapping[str, Mapping[str, Any]]
EXAMPLE_ROWS = 6
EXAMPLE_DRAWS = 8
CHECKED_DRAWS = 100


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def faults(error: ValidationError) -> str:
    """What pydantic says of each argument: its value, and what would be right."""
    rules: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):
        argument = ".".join(map(str, fault["loc"][:1]))
        value = "" if fault["type"] == "missing" else f"{fault['input']!r}: "
        rules.setdefault(f"{argument}: {value}", []).append(fault["msg"])
    return "; ".join(subject + " or ".join(texts) for subject, texts in rules.items())


def build_transform(name: str, arguments: Mapping[str, Any]) -> albumentations.BasicTransform:
    """The named transform; InputError for a name or an argument Albumentations does not have."""
    transform = getattr(albumentations, name, None)
    if not (isinstance(transform, type) and issubclass(transform, albumentations.BasicTransform)):
        raise InputError(f"augment.{name}: is not a transform of Albumentations (params.yaml)")
    try:
        # strict turns Albumentations' warnings about unknown arguments into errors.
        return transform(**arguments, strict=True)
    except (ValueError, TypeError) as error:
        cause = error.__cause__
        text = faults(cause) if isinstance(cause, ValidationError) else one_line(error)
        raise InputError(f"augment.{name}: {text} (params.yaml)") from error


class Augment:
    """The pipeline of params.yaml: (H, W, 3) uint8 in, the same shape and type out."""

    def __init__(self, transforms: Sequence[Transform], seed: int) -> None:
        named = [next(iter(transform.items())) for transform in transforms]
        self.seed = seed
        # What is applied seldom shows its faults here, not hours later.
        always = [(name, {**given, "p": 1.0}) for name, given in named if given["p"] > 0]
        for each in (always, named):
            self.pipeline = albumentations.Compose([build_transform(*one) for one in each])
            self.check_output()

    def __call__(self, image: Image, epoch: int, index: int) -> Image:
        """The draw for image `index` in `epoch` (each below 2**32)."""
        key = epoch << 32 | index
        self.pipeline.set_random_state(
            Generator(Philox(key=[self.seed, key])), random.Random(self.seed << 64 | key)
        )
        result: Image = self.pipeline(image=image)["image"]
        if result.shape != image.shape or result.dtype != image.dtype:
            raise InputError(
                f"augment: must return 32×32×3 uint8, not {'×'.join(map(str, result.shape))} "
                f"{result.dtype} (params.yaml)"
            )
        return result

    def check_output(self) -> None:
        """Refuse a pipeline that fails, or changes an image's size or type, before training."""
        image = np.zeros((32, 32, 3), np.uint8)
        try:
            # Many draws: some fail by their combination.
            for index in range(CHECKED_DRAWS):
                self(image, 0, index)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"augment: fails on an image: {one_line(error)} (params.yaml)"
            ) from error


def draw_examples(split: Split, augment: Augment) -> tuple[Image, Image, list[int]]:
    """What training will see of a few images: one of each of the first classes.

    Returns originals (R, 32, 32, 3), draws (R, K, 32, 32, 3) of epochs 0 to K-1, and labels.
    """
    rows = np.unique(split.labels, return_index=True)[1][:EXAMPLE_ROWS]
    draws = [
        [augment(split.images[row], epoch, int(row)) for epoch in range(EXAMPLE_DRAWS)]
        for row in rows
    ]
    return split.images[rows], np.array(draws), split.labels[rows].tolist()
