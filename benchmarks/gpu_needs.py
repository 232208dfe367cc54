"""What a sitting on a machine without a network needs, told before it begins."""

import os
import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.gpu_stages import ROOT

FOR_TESTS = ("hypothesis", "pytest")
# Without DVC, and with CIFAR-10's archive at hand.
NOT_USED = {"dvc", "platformdirs", "requests", "urllib3"}


def missing() -> list[str]:
    """The packages that a question needs and this Python lacks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [re.split(r"[^\w-]", line)[0] for line in project["dependencies"]]
    found = {name.lower() for each in distributions() if (name := each.metadata["Name"])}
    return sorted({*named, *FOR_TESTS} - found - NOT_USED)


def has_archive() -> bool:
    """Whether CIFAR10_ARCHIVE names a file by its whole path, as the stages' own folders ask."""
    archive = Path(os.environ.get("CIFAR10_ARCHIVE", ""))
    return archive.is_absolute() and archive.is_file()
