"""Two networks on the same test images: is their difference more than chance?"""

from collections import Counter
from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from src.evaluation.interval import Interval, Z


class Paired(NamedTuple):
    """How many images both networks get right, only the first, only the second, neither."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def images(self) -> int:
        return sum(self)

    @property
    def difference(self) -> float:
        """The second network's accuracy minus the first's."""
        return (self.only_b - self.only_a) / self.images


class Changed(NamedTuple):
    """An image that one network gets right and the other wrong.

    said_a, said_b: the class that each says; probability_a, probability_b: what each gives to the
    class that it says; image: its place in the test set.
    """

    image: int
    actual: str
    said_a: str
    probability_a: float
    said_b: str
    probability_b: float


def pair(logits_a: Tensor, logits_b: Tensor, labels: Tensor) -> Paired:
    """The four counts, from (N, C) logits of each network and (N,) labels."""
    right_a, right_b = (logits.argmax(1) == labels for logits in (logits_a, logits_b))
    counts = (2 * ~right_a + ~right_b).bincount(minlength=4)
    return Paired(*counts.tolist())


def mcnemar(counts: Paired) -> float:
    """The mid-p value of McNemar's test: two-sided, binomial.

    Only images that one network alone gets right tell the two apart. If neither were better, each
    of these would fall to either side like a coin; p is the probability of a more uneven split than
    this one, and half of that of one as uneven. With the whole of it the test would be exact, but
    find too few differences (Fagerland, Lydersen and Laake 2013, doi 10.1186/1471-2288-13-91). It
    is 1 where both sides have as many images, or none.
    """
    from scipy.stats import binom  # slow to import, and runs that are refused do without

    fewer, changed = min(counts.only_a, counts.only_b), counts.only_a + counts.only_b
    tail = binom.cdf(fewer, changed, 0.5) - binom.pmf(fewer, changed, 0.5) / 2
    return min(1.0, float(2 * tail))


def difference_interval(counts: Paired) -> Interval:
    """The 95% interval of the difference of two accuracies on the same images.

    Wald's, with one image added to either side that changed (Bonett and Price 2012), which
    Fagerland, Lydersen and Laake 2014 recommend: it keeps its coverage where few images changed.
    """
    images = counts.images + 2
    a, b = (counts.only_a + 1) / images, (counts.only_b + 1) / images
    half = Z * sqrt((a + b - (b - a) ** 2) / images)
    return max(-1.0, b - a - half), min(1.0, b - a + half)


def changed_sides(
    logits_a: Tensor, logits_b: Tensor, labels: Tensor, names: Sequence[str]
) -> tuple[list[Changed], list[Changed]]:
    """The images that only the first network gets right, and those that only the second does.

    Those come first for which the probability of the true class differs most.
    """
    p_a, p_b = (logits.softmax(1) for logits in (logits_a, logits_b))
    gain = (p_b - p_a).gather(1, labels[:, None])[:, 0]
    said = torch.stack([labels, logits_a.argmax(1), logits_b.argmax(1)], 1).tolist()
    rows = [
        Changed(place, names[is_], names[a], p_a[place, a].item(), names[b], p_b[place, b].item())
        for place, (is_, a, b) in enumerate(said)
        if (a == is_) != (b == is_)
    ]
    rows.sort(key=lambda row: -abs(gain[row.image].item()))
    lost = [row for row in rows if row.said_a == row.actual]
    return lost, [row for row in rows if row.said_b == row.actual]


def confusions(rows: Sequence[Changed]) -> list[tuple[str, str, int]]:
    """(true class, the wrong one that was said, number of images), the most frequent first."""
    wrong = (row.said_b if row.said_a == row.actual else row.said_a for row in rows)
    pairs = Counter(zip((row.actual for row in rows), wrong, strict=True))
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(*names, count) for names, count in ranked]
