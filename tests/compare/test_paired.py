"""Two networks on the same images: counts, test and interval are right."""

from math import comb

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.compare.paired import (
    Paired,
    changed_sides,
    confusions,
    difference_interval,
    mcnemar,
    pair,
)

NAMES = ["cat", "dog", "ship"]
LABELS = torch.tensor([0, 1, 2, 0, 1, 0])
# Right: the first, the second, the fifth. Wrong: a ship that is "cat", two cats that are "dog".
A = F.one_hot(torch.tensor([0, 1, 0, 1, 1, 1]), 3) * torch.tensor([[1.0], [1], [2], [5], [1], [1]])
# Right: the first, the third, the fourth, the sixth. Wrong: two dogs that are "ship".
B = F.one_hot(torch.tensor([0, 2, 2, 0, 2, 0]), 3) * torch.tensor([[1.0], [3], [2], [1], [4], [9]])


def test_counts_say_who_is_right() -> None:
    counts = pair(A, B, LABELS)
    assert counts == Paired(both=1, only_a=2, only_b=3, neither=0)
    assert pair(B, A, LABELS) == Paired(both=1, only_a=3, only_b=2, neither=0)
    assert counts.images == 6
    assert counts.difference == pytest.approx(1 / 6)
    neither = pair(A, A, (A.argmax(1) + 1) % 3)
    assert neither == Paired(0, 0, 0, 6)


def test_images_that_changed_side_are_named_the_clearest_first() -> None:
    lost, gained = changed_sides(A, B, LABELS, NAMES)
    assert [(row.image, row.actual, row.said_a, row.said_b) for row in lost] == [
        (4, "dog", "dog", "ship"), (1, "dog", "dog", "ship")
    ]  # fmt: skip
    assert [(row.image, row.actual, row.said_a) for row in gained] == [
        (5, "cat", "dog"), (2, "ship", "cat"), (3, "cat", "dog")
    ]  # fmt: skip
    assert gained[0].probability_a == pytest.approx(A[5].softmax(0)[1].item())
    assert gained[0].probability_b == pytest.approx(B[5].softmax(0)[0].item())
    assert confusions(lost) == [("dog", "ship", 2)]
    assert confusions(gained) == [("cat", "dog", 2), ("ship", "cat", 1)]


@pytest.mark.parametrize(("only_a", "only_b"), [(7, 1), (0, 5), (3, 4), (40, 61), (6, 6), (3, 3)])
def test_mcnemar_is_the_mid_p_of_a_fair_coin(only_a: int, only_b: int) -> None:
    changed, fewer = only_a + only_b, min(only_a, only_b)
    below = sum(comb(changed, k) for k in range(fewer)) + comb(changed, fewer) / 2
    assert mcnemar(Paired(100, only_a, only_b, 9)) == pytest.approx(2 * below / 2**changed)
    assert mcnemar(Paired(100, only_a, only_b, 9)) <= 1
    assert mcnemar(Paired(0, only_b, only_a, 1)) == mcnemar(Paired(100, only_a, only_b, 9))


def test_test_and_interval_seldom_contradict_each_other() -> None:
    """Where they do, p is a little below 0.05 and the interval ends next to 0."""
    splits = [(a, n - a) for n in range(10, 120) for a in range(n // 2 + 1)]
    apart = []
    for only_a, only_b in splits:
        counts = Paired(500 - only_a - only_b, only_a, only_b, 0)
        p, (low, _) = mcnemar(counts), difference_interval(counts)
        if (p < 0.05) != (low > 0):
            apart.append(p)
    assert len(apart) < 0.003 * len(splits)
    assert all(0.035 < p < 0.05 for p in apart)


def test_where_no_image_changed_nothing_tells_two_networks_apart() -> None:
    assert mcnemar(Paired(90, 0, 0, 10)) == 1
    low, high = difference_interval(Paired(90, 0, 0, 10))
    assert low == -high < 0


def test_the_interval_is_that_of_the_published_example() -> None:
    """Fagerland, Lydersen and Laake 2014, table V: 1 and 7 of 21 changed."""
    ends = difference_interval(Paired(both=1, only_a=7, only_b=1, neither=12))
    assert ends == pytest.approx((-0.508, -0.013), abs=0.0005)


def test_the_interval_ends_where_a_difference_can() -> None:
    """One image: with one more to either side, 1/3 ± 1.96 √(8/27), and 1.40 is no difference."""
    low, high = difference_interval(Paired(both=0, only_a=0, only_b=1, neither=0))
    assert (low, high) == (pytest.approx(1 / 3 - 1.959964 * (8 / 27) ** 0.5), 1.0)
    assert difference_interval(Paired(0, 1, 0, 0)) == (-1.0, pytest.approx(-low))


@pytest.mark.parametrize("shares", [(0.9, 0.03, 0.05, 0.02), (0.93, 0.005, 0.005, 0.06)])
def test_the_interval_holds_the_truth_in_95_of_100_samples(shares: tuple[float, ...]) -> None:
    draws = np.random.default_rng(0).multinomial(500, shares, 4000)
    ends = np.array([difference_interval(Paired(*row)) for row in draws.tolist()])
    truth = shares[2] - shares[1]
    inside = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    # Few changes make it wider than need be, never narrower; the standard error is 0.0034.
    assert 0.94 < inside < 0.99


def test_the_test_is_wrong_in_at_most_5_of_100_samples_without_a_difference() -> None:
    draws = np.random.default_rng(1).multinomial(500, (0.85, 0.05, 0.05, 0.05), 1000)
    p = np.array([mcnemar(Paired(*row)) for row in draws.tolist()])
    assert 0.015 < (p < 0.05).mean() < 0.06
