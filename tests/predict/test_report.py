"""The table says what the probabilities mean and no more; the JSON says the same to programs."""

import dataclasses
import json
import os
from pathlib import Path

from src.predict.classifier import Classifier, Guess
from src.predict.report import Result, as_json, caveat, table

SURE = [Guess("cat", 0, 0.912), Guess("dog", 1, 0.05), Guess("sea horse", 2, 0.03)]
UNSURE = [Guess("sea horse", 2, 0.4), Guess("cat", 0, 0.35), Guess("dog", 1, 0.2)]
RESULTS = [Result(Path("a.png"), SURE, None), Result(Path("Käfer.jpg"), UNSURE, Path("out.png"))]


def uncalibrated(classifier: Classifier) -> Classifier:
    return dataclasses.replace(classifier, uncalibrated="nobody measured it")


def test_each_picture_is_a_line(classifier: Classifier) -> None:
    assert table(RESULTS, classifier).splitlines() == [
        "picture    likeliest        second     third",
        "a.png      cat 91.2%        dog 5.0%   sea horse 3.0%",
        "Käfer.jpg  sea horse 40.0%  cat 35.0%  dog 20.0%       "
        "unsure: more likely wrong than right",
    ]


def test_a_long_name_is_cut_and_its_probability_stays(classifier: Classifier) -> None:
    guesses = [Guess("a very long name of a class in a museum", 0, 0.9)]
    (_, line) = table([Result(Path("a.png"), guesses, None)], classifier).splitlines()
    assert line == "a.png    a very long name…ass in a museum 90.0%"


def test_columns_stand_below_each_other_where_letters_are_wide(classifier: Classifier) -> None:
    results = [Result(Path(name), SURE[:1], None) for name in ("日本.png", "a.png")]
    assert table(results, classifier).splitlines() == [
        "picture   likeliest",
        "日本.png  cat 91.2%",
        "a.png     cat 91.2%",
    ]


def test_a_name_breaks_no_line_and_commands_no_terminal(classifier: Classifier) -> None:
    name = os.fsdecode(b"new\nline \xff.png")
    guesses = [Guess("c\x1b[2Jat", 0, 0.9), Guess("d\tog", 1, 0.1)]
    results = [Result(Path(name), guesses, None)]
    assert table(results, classifier).splitlines() == [
        r"picture               likeliest         second",
        r"new\nline \udcff.png  c\x1b[2Jat 90.0%  d\tog 10.0%",
    ]
    text = as_json(results, [], Path("w"), classifier)
    assert text.isascii()
    assert json.loads(text)["pictures"][0]["file"] == name


def test_without_calibration_nothing_is_made_of_a_probability(classifier: Classifier) -> None:
    assert "unsure" not in table(RESULTS, uncalibrated(classifier))


def test_the_caveat_says_what_the_probabilities_mean(classifier: Classifier) -> None:
    both = (
        " The network names one of its 4 classes for any picture; a high probability does not "
        "say that the picture shows one of them."
    )
    assert caveat(dataclasses.replace(classifier, project=Path("demo"))) == (
        "These probabilities are scaled by the temperature 2.5, which fits held-out pictures like "
        "those of the training best as a whole; demo/plots/calibration.png shows how far from "
        "the truth they still are at each level." + both
    )
    assert caveat(uncalibrated(classifier)) == (
        "These probabilities are not calibrated, because nobody measured it." + both
    )


def test_json_has_the_same(classifier: Classifier) -> None:
    faults = [("b.txt", "b.txt: is no picture")]
    values = json.loads(as_json(RESULTS, faults, Path("w.safetensors"), classifier))
    assert values == {
        "weights": "w.safetensors",
        "classes": 4,
        "calibrated": True,
        "temperature": 2.5,
        "pictures": [
            {"file": "a.png", "classes": [{"name": n, "probability": p} for n, _, p in SURE]},
            {
                "file": "Käfer.jpg",
                "classes": [{"name": n, "probability": p} for n, _, p in UNSURE],
                "explanation": "out.png",
            },
        ],
        "errors": [{"file": "b.txt", "error": "b.txt: is no picture"}],
    }
    values = json.loads(as_json([], [], Path("w"), uncalibrated(classifier)))
    assert values == {
        "weights": "w",
        "classes": 4,
        "calibrated": False,
        "why_not": "nobody measured it",
        "pictures": [],
        "errors": [],
    }
