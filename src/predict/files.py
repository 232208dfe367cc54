"""Which picture files the arguments of a command mean."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.data.pictures import SUFFIXES
from src.pipeline.errors import InputError

Fault = tuple[str, str]  # a name, and the sentence about it


def find_pictures(arguments: Sequence[str]) -> tuple[list[Path], list[Fault]]:
    """The files that the arguments mean, each once, and the arguments that mean none.

    An argument is a file, a folder, whose pictures are taken with those of its subfolders, or a
    pattern such as 'photos/*.jpg', for shells that do not expand it.
    """
    found: dict[Path, None] = {}
    faults = []
    for argument in arguments:
        try:
            found |= dict.fromkeys(meant_by(argument))
        except InputError as error:
            faults.append((argument, str(error)))
    return list(found), faults


def meant_by(argument: str) -> list[Path]:
    """The files of one argument, sorted; InputError where a folder or a pattern has none."""
    path = Path(argument)
    # The methods of Path raise where the system refuses to look; reading tells why.
    if os.path.isdir(path):  # noqa: PTH112
        if inside := sorted(pictures_in(path)):
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


def pictures_in(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders that are named like pictures and not hidden."""
    # Path.rglob raises where the system refuses to look.
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and os.path.isfile(path):  # noqa: PTH113
                yield path
