"""The members of a CIFAR archive, read by name; nothing is extracted to the disk.

The binary version is read, never the pickled one. The archive may be hostile: its sizes,
types and names are checked before anything is taken from it.
"""

import gzip
import io
import tarfile
import zlib
from pathlib import Path

from src.pipeline.errors import InputError

TRAIN_BATCHES = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)]
TEST_BATCH = "cifar-10-batches-bin/test_batch.bin"
CLASS_NAMES = "cifar-10-batches-bin/batches.meta.txt"
PYTHON_FOLDER = b"cifar-10-batches-py/"
BINARY_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ROOM_BYTES = 2**20  # in the tar beside the batches: headers, class names, the read-me
# What tarfile raises for hostile headers: more than its own errors.
TAR_FAULTS = (tarfile.TarError, ValueError, OverflowError, RecursionError)
ANOTHER_COPY = (
    "name an undamaged copy with CIFAR10_ARCHIVE=/absolute/path/cifar-10-binary.tar.gz, "
    "or a mirror with CIFAR10_URL=https://…, or run `make demo`, which needs no download"
)


def fault(place: Path | str, what: str) -> InputError:
    """A sentence about an archive that can't be used, with what to do about it."""
    return InputError(f"{place}: {what}; {ANOTHER_COPY}")


def read_members(archive: Path, batch_bytes: int) -> dict[str, bytes]:
    """The six batches and the class names, by their full names in the archive.

    Other members are passed over. Raises InputError for a member that is missing, twice there,
    not an ordinary file or not `batch_bytes` long, and for an archive that is damaged.
    """
    sizes = dict.fromkeys([*TRAIN_BATCHES, TEST_BATCH], batch_bytes)
    content = _unzip(archive, len(sizes) * batch_bytes + ROOM_BYTES)
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                if member.size < 0:  # tarfile would read this header again, for ever
                    raise fault(archive, "is damaged (a member of negative size)")
                if member.name in members:
                    raise fault(archive, f"has {member.name} twice")
                if member.name in sizes or member.name == CLASS_NAMES:
                    size = sizes.get(member.name, member.size)
                    members[member.name] = _read_member(tar, member, size, archive)
    except TAR_FAULTS as error:
        raise fault(archive, f"is damaged ({error})") from error
    for name in sorted({*sizes, CLASS_NAMES} - members.keys()):
        _refuse_python(archive, content)
        raise fault(archive, f"{name} is missing, so it is not CIFAR-10's binary version")
    return members


def _unzip(archive: Path, limit: int) -> bytes:
    """The tar in memory, at most `limit` bytes, so that no hostile header can ask for more."""
    try:
        with gzip.open(archive) as stream:
            content = stream.read(limit + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise fault(archive, f"is damaged or cannot be read ({error})") from error
    if len(content) > limit:
        _refuse_python(archive, content)
        raise fault(archive, f"unpacks to more than {limit:,} bytes")
    return content


def _refuse_python(archive: Path, content: bytes) -> None:
    """A sentence of its own for the version that torchvision fetches and many have."""
    if PYTHON_FOLDER in content:
        raise fault(
            archive,
            "is CIFAR-10's python version, which is never read, because loading a pickle can run "
            f"code; the binary version is at {BINARY_URL} and is fetched if you name no copy",
        )


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, size: int, archive: Path) -> bytes:
    # extractfile would follow a link, and fill a sparse file with zeros to any size it claims.
    ordinary = member.isreg() and not member.issparse()
    file = tar.extractfile(member) if ordinary else None
    if file is None:
        raise fault(archive, f"{member.name} is not an ordinary file")
    if member.size != size:
        raise fault(archive, f"{member.name} has {member.size:,} bytes, not {size:,}")
    return file.read()
