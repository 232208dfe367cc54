"""What training reads: the split images, the classes, the normalisation."""

from dataclasses import dataclass
from pathlib import Path

from src.data.records import MEND, Split, read_classes, read_split
from src.data.split import split
from src.pipeline.errors import InputError
from src.pipeline.files import read_json
from src.pipeline.params import Data

CHANNELS = ("red", "green", "blue")


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


def channel_statistics(report: Path) -> tuple[list[float], list[float]]:
    """Means and standard deviations per channel, from metrics/download.json."""
    values = read_json(report, MEND)
    try:
        mean, std = ([float(values[f"{k}_{c}"]) for c in CHANNELS] for k in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{report}: is damaged (no channel statistics); {MEND}") from error
    return mean, std


def read_training_data(folder: Path, report: Path, data: Data) -> TrainingData:
    """The training file of `folder`, checked and split as params.yaml says."""
    everything = read_split(folder, "train", report)
    train, validation = split(everything.labels, data.val_size, data.train_limit, data.split_seed)
    return TrainingData(
        everything.subset(train),
        everything.subset(validation) if len(validation) else None,
        read_classes(folder),
        *channel_statistics(report),
    )
