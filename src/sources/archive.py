"""The members of a CIFAR archive, read by name; nothing is extracted to the disk.

The binary version is read, never the pickled one. The archive may be hostile: its sizes,
types and names are checked before anything is taken from it.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from src.data.records import RECORD_BYTES
from src.pipeline.errors import InputError

ROOM_BYTES = 2**20  # in the tar beside the batches: headers, class names, the read-me
# What tarfile raises for hostile headers: more than its own errors.
TAR_FAULTS = (tarfile.TarError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Source:
    """Where an archive lies and what must be in it (digests as in src/data/records.py).

    train, test: how many records each member has; names: the member with the class names.
    extra_labels: bytes of a record before the label that is used. train_digest, test_digest:
    None where nobody has computed them; then only the very file with `md5` will do.
    """

    title: str
    variable: str  # begins the names of its environment variables
    url: str
    size: int  # bytes
    md5: str
    train: Mapping[str, int]
    test: Mapping[str, int]
    names: str
    classes: tuple[str, ...] | int  # by label, or only how many there are
    python_folder: str
    train_digest: str | None = None
    test_digest: str | None = None
    extra_labels: int = 0

    @property
    def record_bytes(self) -> int:
        return self.extra_labels + RECORD_BYTES

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]

    def fault(self, place: Path | str, what: str) -> InputError:
        """A sentence about an archive that can't be used, with what to do about it."""
        return InputError(
            f"{place}: {what}; name an undamaged copy with "
            f"{self.variable}_ARCHIVE=/absolute/path/{self.file_name}, or a mirror with "
            f"{self.variable}_URL=https://…, or run `make demo`, which needs no download"
        )


def read_members(archive: Path, source: Source) -> dict[str, bytes]:
    """The batches and the class names, by their full names in the archive.

    Other members are passed over. Raises InputError for a member that is missing, twice there,
    not an ordinary file or not as long as its records, and for an archive that is damaged.
    """
    records = {**source.train, **source.test}
    sizes = {name: count * source.record_bytes for name, count in records.items()}
    content = _unzip(archive, sum(sizes.values()) + ROOM_BYTES, source)
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                if member.size < 0:  # tarfile would read this header again, for ever
                    raise source.fault(archive, "is damaged (a member of negative size)")
                if member.name in members:
                    raise source.fault(archive, f"has {member.name} twice")
                if member.name in sizes or member.name == source.names:
                    size = sizes.get(member.name, member.size)
                    members[member.name] = _read_member(tar, member, size, archive, source)
    except TAR_FAULTS as error:
        raise source.fault(archive, f"is damaged ({error})") from error
    for name in sorted({*sizes, source.names} - members.keys()):
        _refuse_python(archive, content, source)
        raise source.fault(
            archive, f"{name} is missing, so it is not {source.title}'s binary version"
        )
    return members


def _unzip(archive: Path, limit: int, source: Source) -> bytes:
    """The tar in memory, at most `limit` bytes, so that no hostile header can ask for more."""
    try:
        with gzip.open(archive) as stream:
            content = stream.read(limit + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise source.fault(archive, f"is damaged or cannot be read ({error})") from error
    if len(content) > limit:
        _refuse_python(archive, content, source)
        raise source.fault(archive, f"unpacks to more than {limit:,} bytes")
    return content


def _refuse_python(archive: Path, content: bytes, source: Source) -> None:
    """A sentence of its own for the version that torchvision fetches and many have."""
    if source.python_folder.encode() in content:
        raise source.fault(
            archive,
            f"is {source.title}'s python version, which is never read, because loading a pickle "
            f"can run code; the binary version is at {source.url} and is fetched if you name no "
            "copy",
        )


def _read_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, size: int, archive: Path, source: Source
) -> bytes:
    # extractfile would follow a link, and fill a sparse file with zeros to any size it claims.
    ordinary = member.isreg() and not member.issparse()
    file = tar.extractfile(member) if ordinary else None
    if file is None:
        raise source.fault(archive, f"{member.name} is not an ordinary file")
    if member.size != size:
        raise source.fault(archive, f"{member.name} has {member.size:,} bytes, not {size:,}")
    return file.read()
