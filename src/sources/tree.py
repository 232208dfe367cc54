"""Which pictures lie in a folder, and of which class each one is: names alone, nothing is read.

A folder has one folder of pictures for each class, or it has such folders in train/ and in test/.
Files and folders whose names begin with a dot are passed over, and so are editors' copies and
files beside the folders of the classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from src.data.checks import classes_fault
from src.pipeline.errors import InputError, one_line

TRAIN, TEST = "train", "test"
# How the names of editors' copies end; DVC passes over them too (.dvcignore).
EDITORS = ("~", ".swp")
# What Windows puts beside pictures by itself.
DROPPINGS = {"desktop.ini", "thumbs.db"}


@dataclass(frozen=True)
class File:
    """A file that should be a picture. part: train or test, empty where that is to be chosen."""

    path: Path
    name: str  # of its class
    part: str


def list_files(root: Path) -> list[File]:
    """The files of all classes, in the order of their paths.

    Raises InputError where `root` is laid out in another way, and for classes that cannot be.
    """
    folders = folders_in(root)
    parts = [folder for folder in folders if folder.name in {TRAIN, TEST}]
    if len(parts) < 2:
        files = files_in(root, "")
        check_classes(root, files, [""])
        return files
    refuse(
        f"{shown(other)}: lies beside {TRAIN} and {TEST}, so it is neither a class nor one of the "
        f"two; move its pictures into {TRAIN} (data.val_size holds some out)"
        for other in folders
        if other not in parts
    )
    files = [file for folder in parts for file in files_in(folder, folder.name)]
    check_classes(root, files, [TRAIN, TEST])
    return files


def files_in(root: Path, part: str) -> list[File]:
    """The files in each class's folder in `root`."""
    found: dict[str, list[Path]] = {}
    faults = []
    for folder in folders_in(root):
        name = normalize("NFC", folder.name)  # Macs part é into e and an accent
        paths = [path for path in entries(folder) if path.name.lower() not in DROPPINGS]
        faults += [
            f"{shown(path)}: has a name that is not UTF-8, which DVC cannot keep; rename it"
            for path in paths
            if not is_utf8(path.name)
        ]
        if name in found:
            faults.append(f"{shown(folder)}: another folder has the same name; rename one")
        elif inner := folders_in(folder):
            faults.append(
                f"{shown(inner[0])}: is a folder in the folder of a class; move its pictures up, "
                "or name the folder that holds the classes with data.folder (params.yaml); to "
                f"choose the test pictures yourself, make two folders, {TRAIN} and {TEST}"
            )
        elif not paths:
            faults.append(f"{shown(folder)}: holds no picture; put some there, or remove it")
        found[name] = paths
    refuse(faults)
    return [File(path, name, part) for name, paths in found.items() for path in paths]


def folders_in(root: Path) -> list[Path]:
    folders = [path for path in entries(root) if path.is_dir()]
    refuse(
        f"{shown(folder)}: is a link to a folder, in which DVC would not notice a new picture; put "
        "the folder itself there"
        for folder in folders
        if folder.is_symlink()
    )
    return folders


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without hidden files and editors' copies."""
    try:
        return sorted(path for path in folder.iterdir() if not is_left_out(path.name))
    except OSError as error:
        raise InputError(
            f"{shown(folder)}: cannot be read as a folder ({error.strerror}); data.folder "
            "(params.yaml) must name one that holds a folder of pictures for each class"
        ) from error


def is_left_out(name: str) -> bool:
    return name.startswith(".") or name.endswith(EDITORS)


def is_utf8(name: str) -> bool:
    """Python stands surrogates in for bytes that are none."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def check_classes(root: Path, files: list[File], parts: Sequence[str]) -> None:
    """InputError for class names that cannot be, and where one of the parts lacks a class."""
    classes: dict[str, set[str]] = {part: set() for part in parts}
    for file in files:
        classes[file.part].add(file.name)
    names = sorted(set().union(*classes.values()))
    if fault := classes_fault(names):
        raise InputError(
            f"{shown(root)}: {fault}; each folder in it is a class and gives the class its name"
        )
    refuse(
        f"{shown(root / part / name)}: is missing; every class needs pictures in {TRAIN} and in "
        f"{TEST}"
        for part, there in classes.items()
        for name in names
        if name not in there
    )


def refuse(faults: Iterable[str]) -> None:
    """InputError for the last fault, if there is any; those before it are printed.

    So all of a kind can be mended at once.
    """
    found = list(faults)
    for fault in found[:-1]:
        print(fault, flush=True)
    if found:
        raise InputError(found[-1])


def shown(path: Path) -> str:
    """A path that can be printed, whatever bytes its name has."""
    return one_line(str(path))
