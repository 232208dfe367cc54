"""`python -m src.compare A B`: do two runs differ by more than chance on the test images?

A and B are git revisions, DVC experiments, or `workspace`, the working copy; without them HEAD is
compared with the working copy. Logits and labels come from DVC's cache; nothing is computed anew.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.compare.figure import draw_compare
from src.data.dataset import CLASSES
from src.data.records import Split, from_records, parse_records
from src.data.tensors import parse_tensors
from src.evaluation.interval import wilson
from src.evaluation.paired import (
    Changed,
    Paired,
    changed_sides,
    confusions,
    difference_interval,
    mcnemar,
    pair,
)
from src.pipeline import paths
from src.pipeline.errors import InputError
from src.pipeline.revision import WORKSPACE, read_at

FILES = [paths.DATA / "test.bin", paths.DATA / CLASSES, paths.LOGITS]
SAME_DATA = "compare runs on the same data"
MEND = "run `dvc repro -f -s evaluate` there"
FIGURE = Path("dvc_plots/compare.png")
LEVEL = 0.05
PAIRS = 6  # how many pairs of classes a line names


@dataclass(frozen=True)
class Tested:
    """A run's answers to its test images: (N, C) logits."""

    name: str
    test: Split
    classes: list[str]
    logits: Tensor


@dataclass(frozen=True)
class Comparison:
    """What the test images say of two runs. sides: those that only A, and only B, gets right."""

    names: tuple[str, str]
    counts: Paired
    sides: tuple[list[Changed], list[Changed]]

    def right(self) -> tuple[int, int]:
        return self.counts.both + self.counts.only_a, self.counts.both + self.counts.only_b


def read_run(name: str) -> Tested:
    """InputError where the run is unknown, or an output of it is missing or damaged."""
    records, names, content = read_at(name, FILES)
    test = from_records(parse_records(records, f"{name}: {FILES[0]}", MEND))
    classes = names.decode(errors="replace").splitlines()
    logits = parse_tensors(content, f"{name}: {FILES[2]}", MEND)[0].get("logits")
    if logits is None or logits.shape != (len(test), len(classes)):
        raise InputError(f"{name}: {FILES[2]} does not fit the run's own test images; {MEND}")
    return Tested(name, test, classes, logits)


def check_pair(a: Tested, b: Tested) -> None:
    """InputError where two runs cannot be compared image by image, or do not differ."""
    if a.classes != b.classes:
        raise InputError(
            f"{a.name} tells {len(a.classes)} classes apart and {b.name} {len(b.classes)}"
            f"{', of other names' if len(a.classes) == len(b.classes) else ''}; {SAME_DATA}"
        )
    if not (
        np.array_equal(a.test.images, b.test.images)
        and np.array_equal(a.test.labels, b.test.labels)
    ):
        raise InputError(
            f"{a.name} and {b.name} were tested on different images ({FILES[0]} holds "
            f"{len(a.test):,} and {len(b.test):,}, and they are not the same); {SAME_DATA}"
        )
    if torch.equal(a.logits, b.logits):
        raise InputError(
            f"{a.name} and {b.name} give the same logits for every image, so they do not differ; "
            "name two other runs (`dvc exp list` has your experiments)"
        )


def as_json(found: Comparison) -> dict[str, Any]:
    """All that is known, each changed image included; image: its place in data/test.bin."""
    counts = found.counts
    runs = [
        {"name": name, "right": right, "top1": right / counts.images, "interval": ends}
        for name, right in zip(found.names, found.right(), strict=True)
        for ends in [wilson(right, counts.images)]
    ]
    return {
        "a": runs[0],
        "b": runs[1],
        "images": counts.images,
        **counts._asdict(),
        "difference": counts.difference,
        "interval": difference_interval(counts),
        "p_value": mcnemar(counts),
        "changed": [row._asdict() for rows in found.sides for row in rows],
    }


def as_text(found: Comparison) -> str:
    counts, (a, b) = found.counts, found.names
    width = max(len(a), len(b), len("difference"))
    lines = []
    for name, right in zip(found.names, found.right(), strict=True):
        low, high = wilson(right, counts.images)
        share = f"{right:,} of {counts.images:,} right, {right / counts.images:.2%}"
        lines.append(f"{name:{width}}  {share} (95% interval {low:.2%} to {high:.2%})")
    low, high = difference_interval(counts)
    p = mcnemar(counts)
    return "\n".join(
        [
            *lines,
            f"{'difference':{width}}  {100 * counts.difference:+.2f} points "
            f"(95% interval {100 * low:+.2f} to {100 * high:+.2f}); McNemar's test: p = {p:.2g}",
            verdict(p),
            side_line(a, b, found.sides[0]),
            side_line(b, a, found.sides[1]),
        ]
    )


def verdict(p: float) -> str:
    if p >= LEVEL:
        return f"This may be chance in the choice of test images (p is not below {LEVEL})."
    return (
        f"Chance in the choice of test images seldom does this (p is below {LEVEL}). "
        "Another seed may: repeat both runs."
    )


def side_line(right: str, wrong: str, rows: Sequence[Changed]) -> str:
    """How many images only one run gets right, and which classes the other confuses."""
    pairs = confusions(rows)
    named = [f"{actual} for {said} {count}" for actual, said, count in pairs[:PAIRS]]
    named += [f"and {len(pairs) - PAIRS} other pairs"] if len(pairs) > PAIRS else []
    takes = f", where {wrong} takes {', '.join(named)}" if named else ""
    return f"only {right} is right on {len(rows):,} image{'s' * (len(rows) != 1)}{takes}"


def compare(a: str, b: str, figure: Path) -> Comparison:
    """Compare two runs and draw the images that changed side."""
    first, second = read_run(a), read_run(b)
    check_pair(first, second)
    labels = torch.from_numpy(first.test.labels)
    logits = first.logits, second.logits
    sides = changed_sides(*logits, labels, first.classes)
    draw_compare(figure, first.test.images, sides, (a, b))
    return Comparison((a, b), pair(*logits, labels), sides)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.compare", description=__doc__)
    parser.add_argument("a", nargs="?", default="HEAD", metavar="A", help="default: HEAD")
    parser.add_argument("b", nargs="?", default=WORKSPACE, metavar="B", help=f"or {WORKSPACE}")
    parser.add_argument("--out", type=Path, default=FIGURE, help=f"the figure; default: {FIGURE}")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    words = parser.parse_args()
    try:
        found = compare(words.a, words.b, words.out)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(as_json(found), indent=2) if words.json else as_text(found))
    if not words.json:
        print(f"their pictures: {words.out}")
