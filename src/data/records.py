"""CIFAR's record format: one label byte, then 3,072 pixel bytes, channels first (red, green, blue).

Canonical order is by the sha256 of each record, so every lossless copy of a data set becomes the
same file, whatever its order.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.pipeline.errors import InputError

SIDE = 32  # pixels
RECORD_BYTES = 1 + 3 * SIDE * SIDE
MAX_CLASSES = 256  # the label is one byte


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
    """Records (N, 3073) from images (N, 32, 32, 3) uint8 and labels (N,), integers from 0 to 255.

    Raises InputError for anything else, which would become other pictures or other labels.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise InputError(
            f"images: {images.shape} {images.dtype}, not (N, {SIDE}, {SIDE}, 3) uint8; resize them "
            f"to {SIDE}×{SIDE} RGB, channels last, with values from 0 to 255"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
        raise InputError(
            f"labels: {labels.shape} {labels.dtype}, not ({len(images)},) integers; "
            "give the class index of each image"
        )
    for label in labels[(labels < 0) | (labels >= MAX_CLASSES)]:
        raise InputError(f"labels: {label} is not 0 to {MAX_CLASSES - 1}; number classes from 0")
    pixels = images.transpose(0, 3, 1, 2).reshape(len(images), RECORD_BYTES - 1)
    return np.concatenate([labels.astype(np.uint8)[:, None], pixels], axis=1)


def from_records(records: NDArray[np.uint8]) -> Split:
    """The split that (N, 3073) records hold."""
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), records[:, 0].astype(np.int64))


def parse_records(content: bytes, name: str, mend: str) -> NDArray[np.uint8]:
    """Records (N, 3073) from a file's bytes; InputError naming `name` where they are cut."""
    if not content or len(content) % RECORD_BYTES:
        raise InputError(
            f"{name}: is damaged or holds pictures of another size than {SIDE}×{SIDE} "
            f"({len(content):,} bytes is not a whole number of {RECORD_BYTES:,}-byte records); "
            f"{mend}"
        )
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)


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
