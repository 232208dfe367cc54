"""What data must be to train on, whoever wrote them: labels, class names, channels that vary."""

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from src.data.normalize import CHANNELS
from src.data.records import MAX_CLASSES, RECORD_BYTES
from src.pipeline.errors import InputError

NAMES = "name each class once, in a line of its own"
NUMBERS = "number the labels from 0, or name every class"
VALUES = "let each channel vary, if need be as a copy of another one"


def check_records(records: NDArray[np.uint8], name: str, classes: int) -> None:
    """InputError unless these are records of at least one image, with labels of the classes."""
    if records.dtype != np.uint8 or records.shape[1:] != (RECORD_BYTES,) or not len(records):
        raise InputError(
            f"{name}: {records.shape} {records.dtype}, not (N, {RECORD_BYTES}) uint8 with N above "
            "0; make them with to_records, for at least one image"
        )
    if fault := label_fault(records[:, 0], classes):
        raise InputError(f"{name}: {fault}; {NUMBERS}")


def label_fault(labels: NDArray[Any], classes: int) -> str:
    """What is wrong with class indices, or nothing."""
    highest = labels.max()
    if highest < classes:
        return ""
    return f"has label {highest}, but the {classes} classes have the labels 0 to {classes - 1}"


def classes_fault(names: Sequence[str]) -> str:
    """What is wrong with class names, or nothing."""
    if not 2 <= len(names) <= MAX_CLASSES:
        return f"has {len(names)} instead of 2 to {MAX_CLASSES} names"
    for label, name in enumerate(names):
        if not isinstance(name, str) or name.strip().splitlines() != [name] or not is_text(name):
            return f"class {label} is {name!r}, which is no name in one line"
        if name in names[:label]:
            return f"names {name!r} twice"
    return ""


def is_text(name: str) -> bool:
    """Whether a name has no control characters, and none that no file could hold."""
    return not {category(character) for character in name} & {"Cc", "Cs"}


def statistics_fault(report: Mapping[str, Any]) -> str:
    """Which channel cannot be normalised, or nothing."""
    for channel in CHANNELS:
        mean, std = (float(report[f"{kind}_{channel}"]) for kind in ("mean", "std"))
        if not (0 <= mean <= 1 and 0 < std <= 1):
            return f"{channel} has mean {mean:g} and deviation {std:g}: it cannot be normalised"
    return ""
