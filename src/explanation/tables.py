"""The tables of what was confused and of what the maps are worth."""

from collections.abc import Sequence

from src.explanation.choose import Pair
from src.explanation.curves import WAYS
from src.explanation.faithfulness import Faithfulness
from src.explanation.leads import Lead, Point
from src.explanation.sanity import Check

Table = tuple[Sequence[str], Sequence[Sequence[object]]]


def tables(found: Faithfulness, checks: Sequence[Check]) -> dict[str, Table]:
    """Header and rows of faithfulness.csv, faithfulness_curves.csv and sanity.csv, by name."""
    return {
        "faithfulness": table_of(found.leads),
        "faithfulness_curves": (Point._fields, found.points),
        "sanity": (Check._fields, checks),
    }


def table_of(leads: Sequence[Lead]) -> Table:
    """Each lead, with its parts by fill and curve."""
    parts = [name for way in WAYS for name in ("_".join(way), "_".join((*way, "error")))]
    header = ["comparison", "layer", "control", "lead", "error", *parts]
    rows: list[list[object]] = [
        [f"{layer}, {control}", layer, control, value, error]
        + [number for way in WAYS for number in by_way[way]]
        for layer, control, value, error, by_way in leads
    ]
    return header, rows


def pair_table(pairs: Sequence[Pair], classes: Sequence[str], count: int = 20) -> Table:
    """Header and rows of the `count` most frequent pairs; share: of the actual class's images."""
    rows: list[list[object]] = []
    for pair in pairs[:count]:
        actual, predicted = classes[pair.actual], classes[pair.predicted]
        share = pair.count / pair.images
        rows.append([f"{actual} → {predicted}", actual, predicted, pair.count, share])
    return ["pair", "actual", "predicted", "images", "share"], rows
