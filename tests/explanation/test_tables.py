"""The tables hold what was found, in the order and under the names that they promise."""

from src.explanation.choose import Pair
from src.explanation.tables import pair_table


def test_the_table_has_the_most_frequent_pairs() -> None:
    pairs = [Pair(0, 1, 3, 12), Pair(2, 0, 1, 4), Pair(1, 0, 1, 9)]
    header, rows = pair_table(pairs, ["cat", "dog", "猫"], count=2)
    assert header == ["pair", "actual", "predicted", "images", "share"]
    assert rows == [["cat → dog", "cat", "dog", 3, 0.25], ["猫 → cat", "猫", "cat", 1, 0.25]]


def test_a_table_without_pairs_has_a_header_alone() -> None:
    header, rows = pair_table([], ["cat", "dog", "猫"])
    assert len(header) == 5
    assert rows == []
