"""What dvc.lock records of each stage: the digests of the files that it read and wrote."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import yaml

from src.pipeline.errors import InputError
from src.pipeline.files import read_bytes

MEND = "`git checkout HEAD -- dvc.lock` brings the last commit's back"
# Where dvc.lock and the files of the working copy are of two runs.
OF_ONE_RUN = "`dvc exp apply NAME` brings an experiment back whole, `dvc checkout` dvc.lock's run"
# By path; None for a file that DVC names by something else than its md5.
Digests = dict[Path, str | None]


class Recorded(NamedTuple):
    """The md5 of what a stage read and of what it wrote; that of a folder ends in .dir."""

    deps: Digests
    outs: Digests


NOTHING = Recorded({}, {})


def read_lock(path: Path) -> dict[str, Recorded]:
    """As parse_lock; InputError also where the file is missing."""
    return parse_lock(read_bytes(path, MEND), str(path))


def parse_lock(content: bytes, name: str) -> dict[str, Recorded]:
    """What a dvc.lock holds, by stage; InputError, which begins with `name`, if it is damaged."""
    try:
        stages = yaml.safe_load(content)["stages"]
        return {
            stage: Recorded(digests(files.get("deps", [])), digests(files.get("outs", [])))
            for stage, files in stages.items()
        }
    # AttributeError, LookupError, TypeError: a list or a number stands where a mapping should.
    except (
        yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError, RecursionError,
    ) as error:  # fmt: skip
        raise InputError(f"{name}: is damaged (not a record of stages); {MEND}") from error


def digests(files: list[dict[str, str]]) -> Digests:
    return {Path(file["path"]): file.get("md5") for file in files}


def md5(path: Path) -> str:
    """As DVC names content; it guards against mistakes, not against forgery."""
    content = read_bytes(path, "it must be there and readable")
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
