"""CIFAR records: read, check, write, canonical order, content digest.

A record is one label byte and 3,072 pixel bytes, channels first (red, green, blue).
Canonical order is by the sha256 of each record, so every lossless copy of a data set,
whatever its order, becomes the same file.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.pipeline.errors import InputError
from src.pipeline.files import read_bytes, read_json, write_bytes

SIDE = 32
RECORD_BYTES = 1 + 3 * SIDE * SIDE
MEND = "run `dvc repro -f -s download` to write it anew"


@dataclass(frozen=True)
class Split:
    """One split in memory.

    images: (N, 32, 32, 3) uint8; labels: (N,) int64 class indices.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64]) -> "Split":
        return Split(self.images[indices], self.labels[indices])


def to_records(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Records (N, 3073) from images (N, 32, 32, 3) uint8 and labels (N,)."""
    pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels.astype(np.uint8)[:, None], pixels], axis=1)


def from_records(records: NDArray[np.uint8]) -> Split:
    """The split that (N, 3073) records hold."""
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), records[:, 0].astype(np.int64))


def record_digests(records: NDArray[np.uint8]) -> list[bytes]:
    """The sha256 of each record."""
    return [hashlib.sha256(record.data).digest() for record in records]


def canonical_order(records: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The records sorted by the sha256 of each."""
    digests = record_digests(records)
    return records[sorted(range(len(records)), key=digests.__getitem__)]


def content_digest(records: NDArray[np.uint8]) -> str:
    """sha256 over the sorted sha256 digests of the records: the same in any order."""
    return hashlib.sha256(b"".join(sorted(record_digests(records)))).hexdigest()


def write_split(path: Path, records: NDArray[np.uint8]) -> None:
    write_bytes(path, records.tobytes())


def parse_records(content: bytes, name: str, mend: str) -> NDArray[np.uint8]:
    """Records (N, 3073) from a file's bytes; InputError naming `name` where they are cut."""
    if not content or len(content) % RECORD_BYTES:
        raise InputError(
            f"{name}: is damaged ({len(content):,} bytes is not a whole number of "
            f"{RECORD_BYTES:,}-byte records); {mend}"
        )
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)


def read_split(folder: Path, name: str, report: Path) -> Split:
    """The split `name` ("train" or "test") of `folder`, checked against download's report.

    report: metrics/download.json, which holds the content digest under f"{name}_digest".
    Raises InputError where the file is missing, cut, or not the data that was downloaded.
    """
    path = folder / f"{name}.bin"
    records = parse_records(read_bytes(path, MEND), str(path), MEND)
    if content_digest(records) != read_json(report, MEND).get(f"{name}_digest"):
        raise InputError(f"{path}: is damaged (not the data that {report} names); {MEND}")
    return from_records(records)


def read_classes(folder: Path) -> list[str]:
    """Class names by index, from classes.txt."""
    path = folder / "classes.txt"
    names = read_bytes(path, MEND).decode(errors="replace").split()
    if len(names) < 2:
        raise InputError(f"{path}: is damaged (it names {len(names)} classes); {MEND}")
    return names
