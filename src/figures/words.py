"""Names in the little room that they have."""

from collections import Counter
from collections.abc import Sequence

SHORT = 16


def short(name: str, length: int = SHORT) -> str:
    """The name, of at most `length` letters; an ellipsis stands for the middle of a long one.

    The ends tell names apart that begin alike: species 1, species 2, …
    """
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


def short_paths(paths: Sequence[str]) -> list[str]:
    """The paths of modules, each short; whole where that makes two the same.

    A space goes before an underscore, because Matplotlib leaves such labels out of legends.
    """
    cut = [short(path) for path in paths]
    apart = cut if len(set(cut)) == len(set(paths)) else paths
    return [f" {path}" if path.startswith("_") else path for path in apart]


def short_names(names: Sequence[str]) -> list[str]:
    """The names of all classes, each short; where that makes two the same, by their numbers."""
    return apart([short(name) for name in names])


def apart(names: Sequence[str]) -> list[str]:
    """The names of all classes as they are cut; those that look the same by their numbers."""
    count = Counter(names)
    return [name if count[name] == 1 else f"class {label}" for label, name in enumerate(names)]
