"""Pictures of your own: read in parallel, made 32×32 by the rule of src/pictures.py, split.

Where the folder has no train/ and test/, a picture's own 32×32 pixels say in which part it is. So
a picture that is added or removed moves no other, and no picture is in both parts.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm.contrib.concurrent import thread_map

from src.data.records import canonical_order, to_records
from src.pictures import NoMemory, no_memory, read_picture, to_square
from src.pipeline.errors import InputError, one_line
from src.pipeline.params import Data
from src.pipeline.progress import hidden
from src.sources.tree import TEST, TRAIN, File, list_files, shown

Image = NDArray[np.uint8]
Picture = tuple[File, Image]
READERS = min(8, os.cpu_count() or 1)  # threads; src/pictures.py bounds what they decode at once


def load_folder(data: Data) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]:
    """Train and test records, (N, 3073) in canonical order, and the class names, sorted.

    Raises InputError for a folder that list_files refuses, for files that are no pictures where
    data.unreadable is "refuse", and for a class without pictures in one of the two parts.
    """
    root = Path(data.folder)
    files = list_files(root)
    pictures = read_all(files, skip=data.unreadable == "skip")
    parts: dict[str, list[Picture]] = {TRAIN: [], TEST: []}
    for file, image in pictures:
        parts[file.part or chosen_part(image, data.test_share)].append((file, image))
    classes = sorted({file.name for file in files})
    check_parts(parts, classes, root, chosen=not any(file.part for file in files))
    report_contradictions(pictures)
    report_duplicates(parts)
    train, test = (records(parts[part], classes) for part in (TRAIN, TEST))
    return train, test, classes


def read_all(files: Sequence[File], skip: bool) -> list[Picture]:
    """Each file with its (32, 32, 3) picture; those that are none are listed and left out.

    Raises InputError where there are such files, unless `skip`, and for too little memory.
    """
    images = thread_map(
        read_one, files, max_workers=READERS, desc="pictures", unit="", disable=hidden(),
        leave=False,
    )  # fmt: skip
    images = [
        read_alone(file) if isinstance(image, InputError) else image
        for file, image in zip(files, images, strict=True)
    ]
    faults = [image for image in images if isinstance(image, InputError)]
    for fault in faults:
        print(one_line(str(fault)), flush=True)
    if faults and not skip:
        raise InputError(
            f"{len(faults):,} of {len(files):,} files cannot be read as pictures (they are listed "
            "above); mend or remove them, or leave them out with data.unreadable: skip "
            "(params.yaml)"
        )
    if faults:
        print(f"{len(faults):,} of {len(files):,} files are left out", flush=True)
    return [
        (file, image)
        for file, image in zip(files, images, strict=True)
        if not isinstance(image, InputError)
    ]


def read_one(file: File) -> Image | InputError:
    """The picture as the network sees it, or what is wrong with the file."""
    try:
        return to_square(read_picture(file.path))
    except MemoryError:
        return no_memory(str(file.path))
    except InputError as error:
        return error


def read_alone(file: File) -> Image | InputError:
    """The same of a file that could not be read beside others, which took memory too.

    Some decoders call too little memory damage. Raises NoMemory where it is too little even now:
    such a picture must not be left out, or it would be in the data on one day and not on another.
    """
    image = read_one(file)
    if isinstance(image, NoMemory):
        raise image
    return image


def chosen_part(image: Image, test_share: float) -> str:
    """The part in which a picture is: `test_share` of all possible digests are test's."""
    return TEST if int.from_bytes(key_of(image)[:8], "big") < test_share * 2**64 else TRAIN


def key_of(image: Image) -> bytes:
    """The same for two pictures of the same pixels."""
    return hashlib.sha256(image.tobytes()).digest()


def check_parts(
    parts: dict[str, list[Picture]], classes: Sequence[str], root: Path, chosen: bool
) -> None:
    """InputError where a class has no picture in a part. chosen: each picture's part was."""
    mend = "add more"
    if chosen:
        mend += f", alter data.test_share (params.yaml), or make folders {TRAIN} and {TEST}"
    for part, pictures in parts.items():
        there = {file.name for file, _ in pictures}
        for name in classes:
            if name not in there:
                raise InputError(
                    f"{shown(root)}: class {name!r} has no readable picture for {part}; {mend}"
                )


def report_contradictions(pictures: Sequence[Picture]) -> None:
    """Print each picture that is, in 32×32 pixels, also one of another class."""
    first: dict[bytes, File] = {}
    twice = [
        (file, other)
        for file, image in pictures
        if (other := first.setdefault(key_of(image), file)).name != file.name
    ]
    for file, other in twice:
        print(f"{shown(file.path)}: is also a picture of another class ({shown(other.path)})")
    if twice:
        print(
            f"{len(twice):,} of {len(pictures):,} pictures have two classes, which no network can "
            "learn; remove the wrong one of each two",
            flush=True,
        )


def report_duplicates(parts: dict[str, list[Picture]]) -> None:
    """Print each test picture that is, in 32×32 pixels, also a training picture."""
    trained = {key_of(image): file.path for file, image in parts[TRAIN]}
    twice = [(file.path, trained[key]) for file, image in parts[TEST]
             if (key := key_of(image)) in trained]  # fmt: skip
    for path, other in twice:
        print(f"{shown(path)}: is also a training picture ({shown(other)})", flush=True)
    if twice:
        print(
            f"{len(twice):,} of {len(parts[TEST]):,} test pictures are training pictures too, so "
            "the test accuracy is too high; remove one of each two",
            flush=True,
        )


def records(pictures: Sequence[Picture], classes: Sequence[str]) -> NDArray[np.uint8]:
    """Records (N, 3073) in canonical order; the label is the place in `classes`."""
    images = np.stack([image for _, image in pictures])
    labels = np.array([classes.index(file.name) for file, _ in pictures])
    return canonical_order(to_records(images, labels))
