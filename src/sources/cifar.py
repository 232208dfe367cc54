"""The pinned CIFAR archives, from the network or a local copy, checked down to the pixels.

The binary version is read, never the pickled one, and nothing is extracted to the disk.
What counts is the content: any lossless copy, whatever its order and its checksum, will do.
CIFAR-100's content is not pinned yet, so there the file itself must be the official one.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.data.records import canonical_order, content_digest
from src.sources.archive import Source, read_members
from src.sources.download import download

Cifar = tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]
SITE = "https://www.cs.toronto.edu/~kriz"

CIFAR10 = Source(
    title="CIFAR-10",
    variable="CIFAR10",
    url=f"{SITE}/cifar-10-binary.tar.gz",
    size=170_052_171,
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    train={f"cifar-10-batches-bin/data_batch_{i}.bin": 10_000 for i in range(1, 6)},
    test={"cifar-10-batches-bin/test_batch.bin": 10_000},
    names="cifar-10-batches-bin/batches.meta.txt",
    classes=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    ),
    python_folder="cifar-10-batches-py/",
    train_digest="55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
    test_digest="325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
)  # fmt: skip
# Each record has the label of one of 20 groups before that of its class. No copy was at hand when
# this was written: size and md5 are those that several projects publish, and no digest is known.
CIFAR100 = Source(
    title="CIFAR-100",
    variable="CIFAR100",
    url=f"{SITE}/cifar-100-binary.tar.gz",
    size=168_513_733,
    md5="03b5dce01913d631647c71ecec9e9cb8",
    train={"cifar-100-binary/train.bin": 50_000},
    test={"cifar-100-binary/test.bin": 10_000},
    names="cifar-100-binary/fine_label_names.txt",
    classes=100,
    python_folder="cifar-100-python/",
    extra_labels=1,
)


def load_cifar(source: Source) -> Cifar:
    """The archive that the environment names (CIFAR10_ARCHIVE, CIFAR100_ARCHIVE), or the network's.

    Returns and raises as `load_archive`.
    """
    local = os.environ.get(f"{source.variable}_ARCHIVE")
    mirror = os.environ.get(f"{source.variable}_URL")
    return load_archive(source, Path(local) if local else None, mirror=mirror)


def load_archive(
    source: Source, local: Path | None, cache: Path | None = None, mirror: str | None = None
) -> Cifar:
    """Train records, test records, both (N, 3073) in canonical order, and the class names.

    local: an archive on this machine, or None to fetch one into `cache`.
    mirror: another address to fetch it from.
    Raises InputError where the archive can't be had or is not the source's, pixel for pixel.
    """
    archive = fetch(source, cache, mirror) if local is None else local
    if not archive.is_absolute():
        raise source.fault(archive, "is not an absolute path")
    try:
        there = archive.is_file()
    except OSError as error:
        raise source.fault(archive, f"cannot be read ({error.strerror})") from error
    if not there:
        raise source.fault(archive, "is not there, or not a file")
    return read_archive(archive, source)


def read_archive(archive: Path, source: Source) -> Cifar:
    """What load_archive returns, from a file."""
    if source.train_digest is None and (md5 := md5_of(archive, source)) != source.md5:
        raise source.fault(archive, f"has md5 {md5}, so it is not the official {source.md5}")
    members = read_members(archive, source)
    names = members[source.names].decode(errors="replace").split()
    wanted = source.classes
    if isinstance(wanted, int) and len(names) != wanted:
        raise source.fault(archive, f"{source.names} holds {len(names)} names, not {wanted}")
    if not isinstance(wanted, int) and names != [*wanted]:
        raise source.fault(archive, f"{source.names} does not hold {', '.join(wanted)}")
    train, test = (
        _records(b"".join(members[name] for name in batches), source, len(names), archive, split)
        for split, batches in (("train", source.train), ("test", source.test))
    )
    return train, test, names


def _records(
    content: bytes, source: Source, classes: int, archive: Path, split: str
) -> NDArray[np.uint8]:
    whole = np.frombuffer(content, np.uint8).reshape(-1, source.record_bytes)
    records = np.ascontiguousarray(whole[:, source.extra_labels :])
    highest = records[:, 0].max()
    if highest >= classes:
        raise source.fault(archive, f"a {split} label is {highest}, not 0 to {classes - 1}")
    digest = source.train_digest if split == "train" else source.test_digest
    if digest is None:
        print(f"{source.title}: {split} has the content digest {content_digest(records)}")
    elif content_digest(records) != digest:
        raise source.fault(
            archive, f"its {split} images are not the official ones (digest {digest})"
        )
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
    archive = folder / source.file_name
    # A fifth more: a copy that is not compressed at all is a twelfth larger.
    limit = source.size * 6 // 5 if mirror else source.size
    url = mirror or source.url
    download(url, archive, limit, lambda path: verify(path, source), source.fault, timeout_s)
    return archive


def verify(archive: Path, source: Source) -> None:
    """InputError unless the file is the archive, by its md5, or holds the same, by its content."""
    if md5_of(archive, source) != source.md5:
        read_archive(archive, source)


def md5_of(archive: Path, source: Source) -> str:
    try:
        with open(archive, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise source.fault(archive, f"cannot be read ({error.strerror})") from error
