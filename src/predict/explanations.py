"""Which files the explanations of pictures go to."""

import os
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from PIL import Image, PngImagePlugin

from src.pictures import SUFFIXES
from src.pipeline.errors import InputError

# The text in a PNG by which an explanation is known.
KEY, MARK = "Description", "cifar-resnet: the evidence for a class, layer by layer"


def explanation_files(target: Path, pictures: Sequence[Path]) -> list[Path]:
    """A PNG for each picture: `target` itself for one picture, else files in the folder `target`.

    Raises InputError where `target` is one file for several pictures, and where anything but an
    earlier explanation would be overwritten.
    """
    # The methods of Path raise where the system refuses to look; writing tells why.
    folder, file = os.path.isdir(target), os.path.isfile(target)  # noqa: PTH112, PTH113
    suffix = "" if folder else target.suffix.lower()
    if suffix == ".png" and len(pictures) > 1:
        raise InputError(
            f"--explain: {target} is one file for {len(pictures)} pictures; name a folder"
        )
    if suffix != ".png" and (suffix in SUFFIXES or file):
        raise InputError(f"--explain: {target} is neither a file.png nor a folder; name either")
    files = [target] * len(pictures) if suffix == ".png" else inside(target, pictures)
    check_apart(files, pictures)
    return files


def check_apart(files: Sequence[Path], pictures: Sequence[Path]) -> None:
    """InputError where a file to write is a picture to read, or holds anything of the user's."""
    taken = {identity(picture) for picture in pictures}
    for file in files:
        if identity(file) in taken:
            raise InputError(f"--explain: {file} is a picture to predict; name another place")
        if os.path.isfile(file) and not is_explanation(file):  # noqa: PTH113
            raise InputError(
                f"--explain: {file} is there, and is no explanation; name another place"
            )


def mark() -> PngImagePlugin.PngInfo:
    """What tells an explanation from a photograph, for Pillow to write."""
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, MARK)
    return info


def is_explanation(file: Path) -> bool:
    try:
        with Image.open(file, formats=["PNG"]) as image:
            return image.info.get(KEY) == MARK
    except Exception:  # whatever it is that Pillow cannot read
        return False


def identity(path: Path) -> str | tuple[int, int]:
    """The same for two paths to one file, whatever `..`, links and letters' case they hold."""
    try:
        status = path.stat()
    except OSError:
        # Nothing is there to be overwritten, but the picture may come yet.
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def inside(folder: Path, pictures: Sequence[Path]) -> list[Path]:
    """photo.jpg.png for photo.jpg; a second photo.jpg, of another folder, is photo.jpg-2.png."""
    files: dict[str, Path] = {}
    for picture in pictures:
        numbers = chain([""], (f"-{number}" for number in count(2)))
        names = (f"{picture.name}{number}.png" for number in numbers)
        # On some file systems A.png and a.png are one file.
        name = next(name for name in names if name.casefold() not in files)
        files[name.casefold()] = folder / name
    return list(files.values())
