"""A long piece of work says how far it is, and a short one nothing."""

import io
import sys

import pytest
from tqdm import tqdm

from src.pipeline import progress as module
from src.pipeline.progress import hidden, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the clock shows, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_line_a_minute_says_how_much_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    for item in progress(range(1000, 6000), "images"):
        seen.append(item)
        clock[0] += 1 / 16
    assert seen == list(range(1000, 6000))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "images: 960 of 5,000, about 4 min left",
        "images: 1,920 of 5,000, about 3 min left",
        "images: 2,880 of 5,000, about 2 min left",
        "images: 3,840 of 5,000, about 1 min left",
        "images: 4,800 of 5,000, about 1 min left",
    ]


def test_items_of_a_minute_and_more_each_have_a_line(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress("abc", "letters"):
        clock[0] += 150
    assert capsys.readouterr().err.splitlines() == [
        "letters: 1 of 3, about 5 min left",
        "letters: 2 of 3, about 2 min left",
    ]


def test_without_a_stderr_tqdm_draws_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would write to it all the same."""
    assert hidden() is None
    monkeypatch.setattr(sys, "stderr", None)
    assert list(tqdm([1, 2], disable=hidden())) == [1, 2]


def test_short_work_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([], "nothing")) == []
    for _ in progress("abcde", "letters"):
        clock[0] += 11
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar_once_work_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert terminal.getvalue() == ""
    monkeypatch.setattr(module, "BAR_AFTER", 0)
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert "letters:   0%" in terminal.getvalue()


def test_work_that_ends_early_leaves_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the range test does where the loss has blown up."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "BAR_AFTER", 0)
    items = progress("abc", "letters")
    next(items)
    assert terminal.getvalue().startswith("\rletters:   0%")
    del items
    assert terminal.getvalue().endswith(" \r")


def test_without_a_stderr_the_work_is_done(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    for _ in progress("abc", "letters"):
        clock[0] += 150
    assert capsys.readouterr().out == ""
