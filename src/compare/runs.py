"""The answers of two runs to their test images, if the two can be compared image by image."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src.data.dataset import CLASSES
from src.data.records import Split, from_records, parse_records
from src.data.tensors import parse_tensors
from src.pipeline import paths
from src.pipeline.errors import InputError
from src.pipeline.revision import read_at

FILES = [paths.DATA / "test.bin", paths.DATA / CLASSES, paths.LOGITS]
SAME_DATA = "compare runs on the same data"
MEND = "run `dvc repro -f -s evaluate` there"


@dataclass(frozen=True)
class Tested:
    """A run's answers to its test images: (N, C) logits."""

    name: str
    test: Split
    classes: list[str]
    logits: Tensor


def read_run(name: str) -> Tested:
    """InputError where the run is unknown, or an output of it is missing or damaged."""
    records, names, content = read_at(name, FILES)
    test = from_records(parse_records(records, f"{name}: {FILES[0]}", MEND))
    classes = names.decode(errors="replace").splitlines()
    logits = parse_tensors(content, f"{name}: {FILES[2]}", MEND)[0].get("logits")
    if logits is None or logits.shape != (len(test), len(classes)):
        raise InputError(f"{name}: {FILES[2]} does not fit the run's own test images; {MEND}")
    return Tested(name, test, classes, logits)


def check_pair(a: Tested, b: Tested) -> None:
    """InputError where two runs cannot be compared image by image, or do not differ."""
    if a.classes != b.classes:
        raise InputError(
            f"{a.name} tells {len(a.classes)} classes apart and {b.name} {len(b.classes)}"
            f"{', of other names' if len(a.classes) == len(b.classes) else ''}; {SAME_DATA}"
        )
    if not (
        np.array_equal(a.test.images, b.test.images)
        and np.array_equal(a.test.labels, b.test.labels)
    ):
        raise InputError(
            f"{a.name} and {b.name} were tested on different images ({FILES[0]} holds "
            f"{len(a.test):,} and {len(b.test):,}, and they are not the same); {SAME_DATA}"
        )
    if torch.equal(a.logits, b.logits):
        raise InputError(
            f"{a.name} and {b.name} give the same logits for every image, so they do not differ; "
            "name two other runs (`dvc exp list` has your experiments)"
        )
