"""How far a long piece of work is: a bar on a terminal, elsewhere a line a minute."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
# What takes less shows no bar, and has no line.
BAR_AFTER, LINE_AFTER = 5, 60


def hidden() -> bool | None:
    """What tqdm's `disable` is for a bar on a terminal alone; without a stderr there is none."""
    return None if sys.stderr else True


def progress(items: Sequence[T], what: str) -> Iterator[T]:
    """The items one by one; on stderr, how many are done. what: what is done with them.

    A queued run's log has lines: a bar would fill it.
    """
    # Where a command was started without one, it has nowhere to say it.
    if sys.stderr is None:
        yield from items
        return
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, leave=False, dynamic_ncols=True, delay=BAR_AFTER)
        return
    began = told = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - told >= LINE_AFTER:
            print(line(what, done, len(items), now - began), file=sys.stderr, flush=True)
            told = now
        yield item


def line(what: str, done: int, total: int, seconds: float) -> str:
    """How much is done, and how long the rest takes if it takes as long as that."""
    minutes = max(1, round(seconds / done * (total - done) / 60))
    return f"{what}: {done:,} of {total:,}, about {minutes:,} min left"
