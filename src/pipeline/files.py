"""Files that appear whole or not at all."""

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from src.pipeline.errors import InputError

FULL, REFUSED = "free some space", "make the folder writable"
ADVICE = {
    errno.ENOSPC: FULL, errno.EDQUOT: FULL,
    errno.EACCES: REFUSED, errno.EPERM: REFUSED, errno.EROFS: REFUSED,
    errno.EISDIR: "a folder has this name; name another file, or remove the folder",
    errno.EEXIST: "a file has the name of the folder; name another place",
    errno.ENOTDIR: "a file has the name of the folder; name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}  # fmt: skip


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A handle whose content becomes `path` only when the block ends without an error.

    Another process that writes the same file waits. Raises InputError naming `path` where the disk
    or the folder refuses; the old file stays.
    """
    if not path.name:
        raise InputError(f"{path}: is a folder; name a file")
    # The name is fixed, so that the next writer overwrites what a killed one left behind. With the
    # whole name it could be longer than a name may be.
    temporary = path.with_name(f".{path.name[:60]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(temporary) as handle:
            try:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
                temporary.replace(path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            sync_folder(path.parent)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, fault: OSError) -> InputError:
    mend = ADVICE.get(fault.errno or 0, f"{FULL} or {REFUSED}")
    return InputError(
        f"{path}: cannot be written ({fault.strerror or fault}); {mend}, then run the command again"
    )


@contextmanager
def alone(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`, emptied, once no other process has it open like this."""

    def open_as_it_is(name: str, flags: int) -> int:
        flags &= ~os.O_TRUNC
        try:
            return os.open(name, flags, 0o666)
        except PermissionError:
            # Left behind by another user, root in a container, say; one's own folder lets it go.
            with suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108
            return os.open(name, flags, 0o666)

    while True:
        with open(path, "wb", opener=open_as_it_is) as handle:
            # Some file systems have no locks, and a project there may have one writer alone.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            # Whoever had the lock before has given the file its own name, and may have left none.
            if is_at(path, handle):
                handle.truncate(0)
                yield handle
                return


def is_at(path: Path, handle: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Write the folder's list of names to the disk, or a power cut could undo the rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    with whole_file(path) as handle:
        handle.write(content)


def read_bytes(path: Path, mend: str) -> bytes:
    """The file's content; `mend` ends the sentence of the InputError where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {mend}") from error


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Indented JSON, names in the order given.

    Raises ValueError for NaN or Infinity, which JSON does not have.
    """
    text = json.dumps(values, indent=2, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def read_json(path: Path, mend: str) -> dict[str, Any]:
    """The object in the file; InputError with `mend` where it is missing or damaged."""
    content = read_bytes(path, mend)
    try:
        values = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path}: is damaged (not JSON); {mend}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: is damaged (not a JSON object); {mend}")
    return values


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Comma-separated rows; floats in their shortest exact form, None as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def append_json_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add a line of JSON to an untracked log; InputError where the disk or folder refuses."""
    line = json.dumps(values, allow_nan=False).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as handle:
            # A disk that was full may have cut the line before.
            if handle.tell():
                handle.seek(-1, os.SEEK_END)
                line = line if handle.read() == b"\n" else b"\n" + line
            handle.write(line)
    except OSError as error:
        raise not_written(path, error) from error


def read_csv(path: Path, mend: str) -> list[dict[str, str]]:
    """One dict a row, by column name; InputError with `mend` where the file can't be used."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path, mend).decode()), strict=True))
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: is damaged (not a table); {mend}") from error
    if not rows or any(None in row or None in row.values() for row in rows):
        raise InputError(f"{path}: is damaged (rows missing or cut); {mend}")
    return rows


def read_numbers(path: Path, mend: str) -> list[dict[str, float | None]]:
    """The rows of a table of numbers, None where a cell is empty.

    Raises InputError with `mend` where a cell holds anything else.
    """
    try:
        return [
            {k: float(v) if v else None for k, v in row.items()} for row in read_csv(path, mend)
        ]
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); {mend}") from error


def sha256_file(path: Path) -> str:
    """Hex digest of the file's content, or "missing"."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
