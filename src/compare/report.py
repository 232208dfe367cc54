"""What the test images say of two runs, in words or as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from src.compare.paired import (
    Changed,
    Paired,
    changed_sides,
    confusions,
    difference_interval,
    mcnemar,
    pair,
)
from src.compare.runs import Tested
from src.evaluation.interval import wilson
from src.pipeline.errors import one_line

LEVEL = 0.05
PAIRS = 6  # how many pairs of classes a line names


@dataclass(frozen=True)
class Comparison:
    """What the test images say of two runs. sides: those that only A, and only B, gets right.

    calibrated: whether the probabilities are after temperature scaling.
    """

    names: tuple[str, str]
    counts: Paired
    sides: tuple[list[Changed], list[Changed]]
    calibrated: bool

    def right(self) -> tuple[int, int]:
        return self.counts.both + self.counts.only_a, self.counts.both + self.counts.only_b


def compare(a: Tested, b: Tested) -> Comparison:
    """Compare two runs that check_pair lets pass.

    Where one alone has a temperature, both keep their probabilities as trained: a difference of
    scale is none of the networks.
    """
    labels = torch.from_numpy(a.test.labels)
    answers = a.answers, b.answers
    calibrated = all(each.temperature is not None for each in answers)
    of_a, of_b = (each.scaled if calibrated else each.logits.double() for each in answers)
    sides = changed_sides(of_a, of_b, labels, a.classes)
    return Comparison((a.name, b.name), pair(of_a, of_b, labels), sides, calibrated)


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
        "calibrated": found.calibrated,
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
            f"(95% interval {100 * low:+.2f} to {100 * high:+.2f}); McNemar's test: p = {p:.3g}",
            verdict(p) if any(found.sides) else "Both are right on the same images.",
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
    named = [f"{one_line(is_)} for {one_line(said)} {n}" for is_, said, n in pairs[:PAIRS]]
    more = len(pairs) - PAIRS
    named += [f"and {more} other pair{'s' * (more != 1)}"] if more > 0 else []
    takes = f", where {wrong} takes {', '.join(named)}" if named else ""
    return f"only {right} is right on {len(rows):,} image{'s' * (len(rows) != 1)}{takes}"
