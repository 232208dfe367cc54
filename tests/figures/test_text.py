"""Names are cut to their place, and written in letters that the figures' font has."""

import math

import numpy as np
import pytest

from src.figures.style import look, new_sheet, words
from src.figures.text import drawable, fit, fit_middle, fitted, text_width
from src.figures.words import short
from tests.figures.explained import many
from tests.figures.reading import LONG, drawn_texts

LETTERS = "AVTWafijly.,- _охЙ́fi☂9"


@pytest.mark.parametrize("text", ["cat", LONG, "W" * 16, "собака", "Ünïcödé ☂", "fi fl"])
@pytest.mark.parametrize("size", [10, 13])
def test_a_width_is_that_of_the_drawn_text(text: str, size: int) -> None:
    with look():
        figure = new_sheet(2000, 200)
        words(figure, text, 100, 100, size=size)
    (drawn,) = drawn_texts(figure)
    assert text_width(text, size) == pytest.approx(drawn.get_window_extent().width, abs=1)


@pytest.mark.parametrize("width", [60, 100, 192])
@pytest.mark.parametrize("text", [LONG, "W" * 40, "собака_очень_длинная_порода"])
def test_a_long_name_is_cut_as_late_as_its_place_allows(text: str, width: int) -> None:
    cut = fit(text, width, 10)
    assert cut.endswith("…")
    assert text.startswith(cut[:-1])
    longer = text[: len(cut)] + "…"
    assert text_width(cut, 10) <= width < text_width(longer, 10)


def test_a_cut_is_the_one_that_trying_each_length_finds() -> None:
    """Also where the place has no room for one letter, or not even for the ellipsis."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        text = "".join(rng.choice(list(LETTERS), rng.integers(1, 20)))
        width, size = float(rng.uniform(5, 250)), float(rng.choice([9, 10, 13]))
        cuts = [text, *(text[:length] + "…" for length in range(len(text) - 1, 0, -1))]
        expected = next((cut for cut in cuts if text_width(cut, size) <= width), "…")
        assert fit(text, width, size) == expected


def test_a_very_long_name_is_laid_out_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(text: str, size: float) -> float:
        asked.append(text)
        return text_width(text, size)

    monkeypatch.setattr("src.figures.text.text_width", counted)
    assert fit("a" * 255, 100, 10).startswith("aaaa")
    assert len(asked) <= 1 + math.ceil(math.log2(255))


def test_a_place_without_room_for_a_letter_has_an_ellipsis() -> None:
    assert fit("WW", 5, 10) == fit("W", 5, 10) == fit("", -1, 10) == "…"


def test_a_name_that_fits_stays() -> None:
    assert fit("automobile", 192, 10) == "automobile"
    assert fit("", 10, 10) == ""


@pytest.mark.parametrize("width", [60, 100, 192])
@pytest.mark.parametrize("text", [LONG, "W" * 40, "a" * 255, "собака_очень_длинная_порода"])
def test_a_name_that_is_cut_in_its_middle_keeps_both_ends(text: str, width: int) -> None:
    cut = fit_middle(text, width, 10)
    head, tail = cut.split("…")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert 0 <= len(head) - len(tail) <= 1
    assert text_width(cut, 10) <= width < text_width(short(text, len(cut) + 1), 10)
    assert fit_middle("cat", width, 10) == "cat"


def test_names_that_begin_alike_are_told_apart() -> None:
    warblers = ["Black_throated_Blue_Warbler", "Black_throated_Sparrow", "Black_throated_B_Warbler"]
    shown = fitted(["cat", "猫", *warblers], 140, 10)
    assert shown[:2] == ["cat", "class 1"]
    assert shown[3].endswith("row")
    assert len(set(shown)) == 5
    assert all(text_width(name, 10) <= 140 for name in shown)
    # Where the ends are the same too, by their numbers.
    assert fitted(["a" * 90 + "b" + "c" * 90, "a" * 90 + "d" + "c" * 90], 100, 10) == [
        "class 0",
        "class 1",
    ]


def test_a_name_without_letters_in_the_font_is_its_number() -> None:
    names = ["cat", "猫", "кот", "Ünïcödé", "犬 dog"]
    assert drawable(names) == ["cat", "class 1", "кот", "Ünïcödé", "class 4"]
    assert len(set(drawable(many(256)))) == 256
