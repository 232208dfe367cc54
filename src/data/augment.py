"""Augmentation with keyed randomness.

Each image's draws come from generators keyed by (seed, epoch, index), so they are the same
in any process, in any order and after a resume. (Albumentations 2.0.8 alone repeats its draws
every epoch in worker processes, and Compose(seed=…) gives every transform the same stream.)
"""

import random
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from src.data.records import Split
from src.data.transforms import Transform, build_pipeline, fault, variants
from src.device import memory_for
from src.pipeline.errors import InputError

Image = NDArray[np.uint8]
EXAMPLE_ROWS = 6
EXAMPLE_DRAWS = 8
CHECKED_DRAWS = 100


class Augment:
    """The pipeline of params.yaml: (H, W, 3) uint8 in, the same shape and type out."""

    def __init__(self, transforms: Sequence[Transform], seed: int) -> None:
        self.seed = seed
        # First: the variants' own errors would not show the values of params.yaml.
        asked_for = build_pipeline(transforms)
        # Rarely applied transforms must fail now, not hours later.
        for self.pipeline in (*map(build_pipeline, variants(transforms)), asked_for):
            self.check_output()

    def __call__(self, image: Image, epoch: int, index: int) -> Image:
        """The draw for image `index` in `epoch` (each below 2**32).

        Raises InputError where a transform fails or changes the image's size or type, and
        MemoryError where the memory is too small for it.
        """
        key = epoch << 32 | index
        self.pipeline.set_random_state(
            Generator(Philox(key=[self.seed, key])), random.Random(self.seed << 64 | key)
        )
        try:
            result: Image = self.pipeline(image=image)["image"]
        # Whatever a transform of Albumentations may raise.
        except Exception as error:
            text = f"{fault(error)} (params.yaml)"
            if isinstance(error, MemoryError) or "Insufficient memory" in str(error):  # OpenCV's
                raise MemoryError(text) from error
            raise InputError(text) from error
        if result.shape != image.shape or result.dtype != image.dtype:
            raise InputError(
                f"augment: must return 32×32×3 uint8, not {'×'.join(map(str, result.shape))} "
                f"{result.dtype} (params.yaml)"
            )
        return result

    def check_output(self) -> None:
        """Refuse a pipeline that fails, or changes an image's size or type, before training."""
        black = np.zeros((32, 32, 3), np.uint8)
        noise = Generator(Philox(0)).integers(0, 256, black.shape, np.uint8)
        with warnings.catch_warnings():
            # Albumentations warns so of what does nothing with such an image.
            warnings.simplefilter("error", UserWarning)
            # Many draws: some fail by their combination.
            for index in range(CHECKED_DRAWS):
                try:
                    self((black, noise)[index % 2], 0, index)
                except MemoryError as error:
                    # Of one image: the transform asks for too much.
                    raise InputError(str(error)) from error


def draw_examples(split: Split, augment: Augment) -> tuple[Image, Image, list[int]]:
    """What training will see of a few images: one of each of the first classes.

    Returns originals (R, 32, 32, 3), draws (R, K, 32, 32, 3) of epochs 0 to K-1, and labels.
    """
    rows = np.unique(split.labels, return_index=True)[1][:EXAMPLE_ROWS]
    with memory_for("augmenting examples"):
        draws = [
            [augment(split.images[row], epoch, int(row)) for epoch in range(EXAMPLE_DRAWS)]
            for row in rows
        ]
    return split.images[rows], np.array(draws), split.labels[rows].tolist()
