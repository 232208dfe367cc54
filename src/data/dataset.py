"""The data folder: what the download stage writes there, and how the other stages read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.data.normalize import CHANNELS, channel_statistics
from src.data.records import Split, content_digest, from_records, parse_records
from src.data.split import split
from src.pipeline.errors import InputError, remake
from src.pipeline.files import read_bytes, read_json, write_bytes, write_json
from src.pipeline.params import Data

CLASSES, REPORT = "classes.txt", "report.json"
MEND = remake("download")


def write_dataset(
    folder: Path, train: NDArray[np.uint8], test: NDArray[np.uint8], classes: Sequence[str]
) -> dict[str, int]:
    """Write both splits, the class names and a report on the data; returns the counts.

    train, test: (N, 3073) records; classes: names by label.
    """
    for name, records in (("train", train), ("test", test)):
        write_bytes(folder / f"{name}.bin", records.tobytes())
    write_bytes(folder / CLASSES, "".join(f"{name}\n" for name in classes).encode())
    counts = {"train_images": len(train), "test_images": len(test)}
    write_json(folder / REPORT, {**counts, **describe(train, test)})
    return counts


def describe(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> dict[str, float | str]:
    """Channel statistics of the training records and the content digest of each split."""
    mean, std = channel_statistics(from_records(train).images)
    return {
        **{f"mean_{channel}": float(mean[i]) for i, channel in enumerate(CHANNELS)},
        **{f"std_{channel}": float(std[i]) for i, channel in enumerate(CHANNELS)},
        "train_digest": content_digest(train),
        "test_digest": content_digest(test),
    }


def read_split(folder: Path, name: str) -> Split:
    """The split `name` ("train" or "test") of `folder`, checked against the report's digest.

    Raises InputError where the file is missing, cut, or not the data that the report names.
    """
    path, report = folder / f"{name}.bin", folder / REPORT
    records = parse_records(read_bytes(path, MEND), str(path), MEND)
    if content_digest(records) != read_json(report, MEND).get(f"{name}_digest"):
        raise InputError(f"{path}: is damaged (not the data that {report} names); {MEND}")
    return from_records(records)


def read_classes(folder: Path) -> list[str]:
    """Class names by label."""
    path = folder / CLASSES
    names = read_bytes(path, MEND).decode(errors="replace").split()
    if len(names) < 2:
        raise InputError(f"{path}: is damaged (it names {len(names)} classes); {MEND}")
    return names


def read_statistics(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1], over the whole training file."""
    report = folder / REPORT
    values = read_json(report, MEND)
    try:
        mean, std = ([float(values[f"{k}_{c}"]) for c in CHANNELS] for k in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{report}: is damaged (no channel statistics); {MEND}") from error
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


def read_training_data(folder: Path, data: Data) -> TrainingData:
    """The training file of `folder`, checked and split as params.yaml says."""
    everything = read_split(folder, "train")
    train, validation = split(everything.labels, data.val_size, data.train_limit, data.split_seed)
    return TrainingData(
        everything.subset(train),
        everything.subset(validation) if len(validation) else None,
        read_classes(folder),
        *read_statistics(folder),
    )
