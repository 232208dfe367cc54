"""What a network said of its test images, out of evaluate's file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from src.data.tensors import parse_tensors
from src.pipeline.errors import InputError, remake
from src.pipeline.files import read_bytes, sha256_file

MEND = remake("evaluate")


@dataclass(frozen=True)
class Answers:
    """(N, C) logits; temperature: what evaluate found to divide them by, None where it found none;
    weights: the sha256 of the network's file. Those of 0.4.0 and before have neither."""

    logits: Tensor
    temperature: float | None = None
    weights: str | None = None

    @property
    def scaled(self) -> Tensor:
        """(N, C): softmax makes them the probabilities that `make predict` tells, too.

        In double precision: in fp32 a lead of 17.3 already rounds to a probability of 1, and of two
        such images none is the surer.
        """
        return self.logits.double() / (self.temperature or 1.0)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        return self.scaled.softmax(1).numpy()


def load_answers(path: Path, images: int, classes: int) -> Answers:
    """InputError where the file is damaged, or of another number of images or classes."""
    return parse_answers(read_bytes(path, MEND), str(path), images, classes, MEND)


def parse_answers(content: bytes, name: str, images: int, classes: int, mend: str) -> Answers:
    """As load_answers, from a file's bytes; mend: what to do about a fault."""
    tensors, about = parse_tensors(content, name, mend)
    logits = tensors.get("logits")
    if logits is None or logits.shape != (images, classes):
        shape = None if logits is None else tuple(logits.shape)
        raise InputError(f"{name}: holds logits {shape}, not {(images, classes)}; {mend}")
    return Answers(logits, about.get("temperature"), about.get("weights"))


def check_network(answers: Answers, path: Path, weights: Path) -> None:
    """InputError where they are another network's, as after `dvc repro train`."""
    if answers.weights not in (None, sha256_file(weights)):
        raise InputError(f"{path}: holds the answers of another network than {weights}; {MEND}")
