"""docs/result.yaml: which runs are published, by which commits, on which machines."""

from pathlib import Path
from typing import Any

import yaml

from src.pipeline.errors import InputError
from src.pipeline.files import read_bytes, write_bytes

FILE = Path("docs/result.yaml")
HEADER = "# Written by `make figures`: the run that made the committed results.\n"


def read_results(path: Path) -> dict[str, Any]:
    """What docs/result.yaml says; InputError where it is missing or damaged."""
    mend = f"`git checkout HEAD -- {path.name}` in {path.parent} brings the last commit's back"
    try:
        results = yaml.safe_load(read_bytes(path, mend))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is damaged ({' '.join(str(error).split())}); {mend}") from error
    if not isinstance(results, dict) or "default" not in results:
        raise InputError(f"{path}: is damaged (it has no result of default); {mend}")
    return results


def write_results(path: Path, results: dict[str, Any]) -> None:
    text = HEADER + yaml.safe_dump(results, sort_keys=False, allow_unicode=True)
    write_bytes(path, text.encode())
