"""The pinned CIFAR-10 archive, from the network or a local copy, checked down to the pixels.

The binary version is read, never the pickled one, and nothing is extracted to the disk.
What counts is the content: any lossless copy, whatever its order and its checksum, will do.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.data.records import RECORD_BYTES, canonical_order, content_digest
from src.sources.archive import (
    BINARY_URL,
    CLASS_NAMES,
    TEST_BATCH,
    TRAIN_BATCHES,
    fault,
    read_members,
)
from src.sources.download import download

Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]


@dataclass(frozen=True)
class Source:
    """Where an archive lies and what must be in it (digests as in src/data/records.py)."""

    url: str
    size: int  # bytes
    md5: str
    train_digest: str
    test_digest: str
    batch_records: int  # in each of the five train batches and in the test batch
    classes: tuple[str, ...]  # by label


CIFAR10 = Source(
    url=BINARY_URL,
    size=170_052_171,
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    train_digest="55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
    test_digest="325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
    batch_records=10_000,
    classes=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    ),
)  # fmt: skip


def load_cifar10(
    local: Path | None,
    source: Source = CIFAR10,
    cache: Path | None = None,
    mirror: str | None = None,
) -> Cifar10:
    """Train records, test records, both (N, 3073) in canonical order, and the class names.

    local: an archive on this machine (CIFAR10_ARCHIVE), or None to fetch one into `cache`.
    mirror: another address to fetch it from (CIFAR10_URL).
    Raises InputError where the archive can't be had or is not CIFAR-10, pixel for pixel.
    """
    archive = fetch(source, cache, mirror) if local is None else local
    if not archive.is_absolute():
        raise fault(archive, "is not an absolute path")
    try:
        there = archive.is_file()
    except OSError as error:
        raise fault(archive, f"cannot be read ({error.strerror})") from error
    if not there:
        raise fault(archive, "is not there, or not a file")
    return read_archive(archive, source)


def read_archive(archive: Path, source: Source) -> Cifar10:
    """What load_cifar10 returns, from a file."""
    members = read_members(archive, source.batch_records * RECORD_BYTES)
    names = members[CLASS_NAMES].decode(errors="replace").split()
    if names != [*source.classes]:
        raise fault(archive, f"{CLASS_NAMES} does not hold {', '.join(source.classes)}")
    train = b"".join(members[name] for name in TRAIN_BATCHES)
    return (
        _records(train, source.train_digest, len(names), archive, "train"),
        _records(members[TEST_BATCH], source.test_digest, len(names), archive, "test"),
        names,
    )


def _records(
    content: bytes, digest: str, classes: int, archive: Path, split: str
) -> NDArray[np.uint8]:
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    highest = records[:, 0].max()
    if highest >= classes:
        raise fault(archive, f"a {split} label is {highest}, not 0 to {classes - 1}")
    if content_digest(records) != digest:
        raise fault(archive, f"its {split} images are not the official ones (digest {digest})")
    return canonical_order(records)


def fetch(
    source: Source,
    cache: Path | None = None,
    mirror: str | None = None,
    timeout_s: float = 30.0,
) -> Path:
    """The archive's path in `cache`, downloaded where it is not there yet or is damaged.

    cache: a folder, by default this project's own in the user's cache.
    mirror: an address other than the source's; it may hold a lossless copy, packed anew.
    timeout_s: longest wait to connect, and for the next bytes.
    Raises InputError; what is not the archive never gets its name.
    """
    from platformdirs import user_cache_path

    folder = user_cache_path("cifar-resnet") if cache is None else cache
    archive = folder / source.url.rpartition("/")[2]
    # A fifth more: a copy that is not compressed at all is a twelfth larger.
    limit = source.size * 6 // 5 if mirror else source.size
    download(mirror or source.url, archive, limit, lambda path: verify(path, source), timeout_s)
    return archive


def verify(archive: Path, source: Source) -> None:
    """InputError unless the file is the archive, by its md5, or holds the same, by its content."""
    with open(archive, "rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    if md5 != source.md5:
        read_archive(archive, source)
