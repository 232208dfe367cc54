"""The answers of benchmarks/gpu.py: a file with a line of JSON for each, and their table."""

import json
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from release.log import whole_rows

Values = dict[str, Any]
PACKAGES = ("torch", "torchvision", "numpy", "albumentations")
COMMIT = Path(__file__).parents[1] / "bench/commit"
ABOUT = ("card", "driver", "cores", "commit", "python", *PACKAGES)
# The table has no room for what only a program reads.
LONG = ("kernels",)
ROOM = 160  # characters; an error's last words say most
NEEDS_GPU = "needs a GPU"


@cache
def about() -> Values:
    """What an answer depends on: the card, its driver, the host's cores, the code, the versions."""
    commit = COMMIT.read_text().strip() if COMMIT.exists() else "unknown"
    host = {"cores": os.cpu_count(), "commit": commit, "python": platform.python_version()}
    return {**card(), **host, **{name: version(name) for name in PACKAGES}}


def card() -> dict[str, str]:
    """The first card's name and driver, as the driver's own program tells them."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
        name, driver = said.splitlines()[0].split(", ")
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return {"card": "none", "driver": "none"}
    return {"card": name, "driver": driver}


def has_gpu() -> bool:
    return about()["card"] != "none"


class Answers:
    """A file of JSON lines that outlives every cut: a line is on the disk before the next."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, question: str, values: Values) -> None:
        line = json.dumps({"question": question, **values, **about()}).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            # A cut may have left half a line.
            if file.tell() and not self.path.read_bytes().endswith(b"\n"):
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[Values]:
        """Every whole line, oldest first."""
        return whole_rows(self.path.read_text()) if self.path.exists() else []

    def has(self, question: str) -> bool:
        return any(row["question"] == question and "error" not in row for row in self.rows())

    def ended(self, question: str) -> bool:
        """Whether the question was done, cut off by its time box, or failed."""
        return any(row["question"] == question and "state" in row for row in self.rows())


def table(rows: list[Values]) -> str:
    """The last answer to each question, under the card and versions that gave it."""
    lines, shown_about = [], None
    for row in {row["question"]: row for row in rows}.values():
        where = {name: row[name] for name in ABOUT if name in row}
        if where != shown_about:
            lines.append(", ".join(f"{name} {value}" for name, value in where.items()))
            shown_about = where
        rest = {k: v for k, v in row.items() if k not in {"question", "seconds", *where, *LONG}}
        seconds = f"{row['seconds']:8.1f}" if "seconds" in row else " " * 8
        lines.append(f"{row['question']:<44}{seconds}  {words(rest)}".rstrip())
    return "\n".join(lines)


def words(values: Values) -> str:
    return ", ".join(f"{name} {word(value)}" for name, value in values.items())


def word(value: Any) -> str:
    if isinstance(value, dict):
        return f"({words(value)})"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= ROOM else f"…{text[-ROOM:]}"
