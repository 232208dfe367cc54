"""Which picture files the arguments of a command mean."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.pictures import SUFFIXES
from src.pipeline.errors import InputError

# Of a folder these are left out, and told: kinds of pictures that src/pictures.py does not read.
UNREAD = frozenset({
    ".heic", ".heif", ".jxl", ".jp2", ".svg", ".psd", ".tga", ".ico",
    ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf",
})  # fmt: skip
Fault = tuple[str, str]  # a name, and the sentence about it


def find_pictures(arguments: Sequence[str]) -> tuple[list[Path], list[Fault]]:
    """The files that the arguments mean, each once, and what means none or cannot be read.

    An argument is a file, a folder, whose pictures are taken with those of its subfolders, or a
    pattern such as 'photos/*.jpg', for shells that do not expand it.
    """
    found: dict[Path, None] = {}
    faults: list[Fault] = []
    for argument in arguments:
        try:
            found |= dict.fromkeys(meant_by(argument, faults))
        except InputError as error:
            faults.append((argument, str(error)))
    return list(found), faults


def meant_by(argument: str, faults: list[Fault]) -> list[Path]:
    """The files of one argument, sorted; faults: gets one for each folder that cannot be read.

    Raises InputError where a folder or a pattern has no file.
    """
    if not argument:
        # It would mean this folder.
        raise InputError("a picture's name is empty; name a file or a folder")
    path = Path(argument)
    # The methods of Path raise where the system refuses to look; reading tells why.
    if os.path.isdir(path):  # noqa: PTH112
        unread: list[Fault] = []
        if (inside := sorted(pictures_in(path, unread))) or unread:
            faults += unread
            return inside
        raise InputError(f"{argument}: holds no picture; name a folder with pictures")
    # A file may have a name that looks like a pattern.
    if os.path.exists(path) or not glob.has_magic(argument):  # noqa: PTH110
        return [path]
    # Path.glob would refuse a pattern that begins with /.
    matches = map(Path, glob.glob(argument, recursive=True))  # noqa: PTH207
    if files := sorted(match for match in matches if not os.path.isdir(match)):  # noqa: PTH112
        return files
    raise InputError(f"{argument}: no file has a name like this; check the pattern")


def pictures_in(folder: Path, unread: list[Fault]) -> Iterator[Path]:
    """The files in a folder and its subfolders that are named like pictures and not hidden.

    unread: gets a fault for each folder that cannot be read, or is only linked: it may lead back;
    and one for all pictures of kinds that are not read.
    """
    left_out: list[Path] = []

    def refused(error: OSError) -> None:
        name = str(error.filename)
        unread.append((name, f"{name}: cannot be read ({error.strerror}); make it readable"))

    # Path.rglob raises where the system refuses to look.
    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for link in (Path(place, name) for name in folders):
            if os.path.islink(link):  # noqa: PTH114
                unread.append((str(link), f"{link}: is a link to a folder; name that folder too"))
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and os.path.isfile(path):  # noqa: PTH113
                yield path
            elif path.suffix.lower() in UNREAD:
                left_out.append(path)
    if left_out:
        kinds = ", ".join(sorted({path.suffix.lower() for path in left_out}))
        unread.append(
            (
                str(folder),
                f"{folder}: {len(left_out):,} pictures of kinds that are not read here ({kinds}), "
                f"{left_out[0].name} for one; save them as PNG or JPEG",
            )
        )
