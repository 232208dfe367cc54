"""The data folder: what the download stage, or you, write there, and how stages read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.data.checks import (
    NAMES,
    NUMBERS,
    VALUES,
    check_records,
    classes_fault,
    label_fault,
    statistics_fault,
)
from src.data.normalize import CHANNELS, channel_statistics
from src.data.records import SIDE, Split, content_digest, from_records, parse_records
from src.data.split import split
from src.pipeline.errors import InputError, remake
from src.pipeline.files import read_bytes, read_json, write_bytes, write_json
from src.pipeline.params import Data

CLASSES = "classes.txt"
# Each split has its own report: a new test picture must not train the network anew.
REPORTS = {"train": "train.json", "test": "test.json"}
OWN = "own"  # who wrote the data: not the download stage


def write_dataset(
    folder: Path,
    train: NDArray[np.uint8],
    test: NDArray[np.uint8],
    classes: Sequence[str],
    source: str = OWN,
) -> dict[str, int]:
    """Write both splits, a report on each, and the class names; returns the counts.

    train, test: (N, 3073) records; classes: names by label; source: the download stage's
    `data.source`, so that no message ever has that stage write over data of your own.
    Raises InputError, with nothing written, for data that no network could be trained on.
    """
    if fault := classes_fault(classes):
        raise InputError(f"classes: {fault}; {NAMES}")
    for name, records in (("train", train), ("test", test)):
        check_records(records, name, len(classes))
    statistics = describe(train)
    if fault := statistics_fault(statistics):
        raise InputError(f"train: {fault}; {VALUES}")
    for name, records, more in (("train", train, statistics), ("test", test, {})):
        write_bytes(folder / f"{name}.bin", records.tobytes())
        report = {"source": source, "images": len(records), **more}
        write_json(folder / REPORTS[name], report | {"digest": content_digest(records)})
    write_bytes(folder / CLASSES, "".join(f"{name}\n" for name in classes).encode())
    return {"train_images": len(train), "test_images": len(test)}


def describe(records: NDArray[np.uint8]) -> dict[str, float]:
    """Mean and standard deviation of each channel."""
    mean, std = channel_statistics(from_records(records).images)
    return {
        **{f"mean_{channel}": float(mean[i]) for i, channel in enumerate(CHANNELS)},
        **{f"std_{channel}": float(std[i]) for i, channel in enumerate(CHANNELS)},
    }


def mend(folder: Path, own: str = "") -> str:
    """How to mend a file of the data folder: who wrote it, as its reports say, can do it again.

    own: what to change first where the user wrote it.
    """
    source = next(filter(None, (source_of(folder / name) for name in REPORTS.values())), None)
    write = f'write {folder} again (docs/running.md, "Your own images")'
    again = f"{own}, then {write}" if own else write
    if source == OWN:
        return again
    download = remake("download")
    return download if source else f"if you wrote {folder} yourself, {again}, else {download}"


def source_of(report: Path) -> str | None:
    """Who wrote the data, or None where the report does not say it."""
    try:
        source: str | None = read_json(report, "").get("source")
    except InputError:
        return None
    return source


def read_split(folder: Path, name: str) -> Split:
    """The split `name` ("train" or "test") of `folder`, checked against its report and classes.

    Raises InputError where the file is missing, cut, not the data that the report names, or has
    a label without a class.
    """
    path, report = folder / f"{name}.bin", folder / REPORTS[name]
    content = read_bytes(path, mend(folder))
    records = parse_records(content, str(path), mend(folder, f"resize them to {SIDE}×{SIDE}"))
    if content_digest(records) != read_json(report, mend(folder)).get("digest"):
        raise InputError(f"{path}: is damaged (not the data that {report} names); {mend(folder)}")
    classes = len(read_classes(folder))
    if fault := label_fault(records[:, 0], classes):
        raise InputError(f"{path}: {fault} ({folder / CLASSES}); {mend(folder, NUMBERS)}")
    return from_records(records)


def read_classes(folder: Path) -> list[str]:
    """Class names by label, one a line."""
    path = folder / CLASSES
    names = parse_classes(read_bytes(path, mend(folder)))
    if fault := classes_fault(names):
        raise InputError(f"{path}: {fault}; {mend(folder, NAMES)}")
    return names


def parse_classes(content: bytes) -> list[str]:
    """The names in a file of classes; blanks around them and lines at the end are none of them."""
    text = content.decode(errors="replace")
    return [line.strip() for line in text.rstrip().splitlines()]


def read_statistics(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1], over the whole training file."""
    report = folder / REPORTS["train"]
    values = read_json(report, mend(folder))
    try:
        mean, std = ([float(values[f"{k}_{c}"]) for c in CHANNELS] for k in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{report}: is damaged (no channel statistics); {mend(folder)}") from error
    if fault := statistics_fault(values):
        raise InputError(f"{report}: {fault}; {mend(folder, VALUES)}")
    return mean, std


@dataclass(frozen=True)
class TrainingData:
    """The training images, the validation images (None without a split) and what goes with them.

    mean, std: per channel in [0, 1], of the whole training file.
    """

    train: Split
    validation: Split | None
    classes: list[str]
    mean: list[float]
    std: list[float]

    def traits(self) -> dict[str, Any]:
        """What a weights file says of its data, so that one can predict without them."""
        return {"classes": self.classes, "mean": self.mean, "std": self.std}


def read_training_data(folder: Path, data: Data) -> TrainingData:
    """The training file of `folder`, checked and split as params.yaml says."""
    everything = read_split(folder, "train")
    train, validation = split(everything.labels, data.val_size, data.train_limit, data.split_seed)
    unseen = np.setdiff1d(everything.labels, everything.labels[validation])
    if len(validation) and len(unseen):
        print(
            f"note: data.val_size: {data.val_size} holds out no image of {len(unseen)} of the "
            "classes, so val_accuracy says nothing of them (params.yaml)"
        )
    if len(lost := np.setdiff1d(everything.labels, everything.labels[train])):
        print(
            f"note: data.val_size and data.train_limit leave no image of {len(lost)} of the "
            "classes to train on, so the network cannot learn them (params.yaml)"
        )
    return TrainingData(
        everything.subset(train),
        everything.subset(validation) if len(validation) else None,
        read_classes(folder),
        *read_statistics(folder),
    )
