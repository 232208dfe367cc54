"""Which files the explanations of pictures go to."""

from collections.abc import Sequence
from pathlib import Path

from src.data.pictures import SUFFIXES
from src.pipeline.errors import InputError


def explanation_files(target: Path, pictures: Sequence[Path]) -> list[Path]:
    """A PNG for each picture: `target` itself for one picture, else files in the folder `target`.

    Raises InputError where `target` is one file for several pictures, or where a picture would be
    overwritten.
    """
    suffix = "" if target.is_dir() else target.suffix.lower()
    if suffix == ".png" and len(pictures) > 1:
        raise InputError(
            f"--explain: {target} is one file for {len(pictures)} pictures; name a folder"
        )
    if suffix != ".png" and (suffix in SUFFIXES or target.is_file()):
        raise InputError(f"--explain: {target} is neither a file.png nor a folder; name either")
    files = [target] * len(pictures) if suffix == ".png" else inside(target, pictures)
    taken = {picture.absolute() for picture in pictures}
    for file in files:
        if file.absolute() in taken:
            raise InputError(f"--explain: {file} is a picture to predict; name another place")
    return files


def inside(folder: Path, pictures: Sequence[Path]) -> list[Path]:
    """photo.jpg.png for photo.jpg; a second photo.jpg, of another folder, is photo.jpg-2.png."""
    count: dict[str, int] = {}
    files = []
    for picture in pictures:
        count[picture.name] = count.get(picture.name, 0) + 1
        number = f"-{count[picture.name]}" if count[picture.name] > 1 else ""
        files.append(folder / f"{picture.name}{number}.png")
    return files
