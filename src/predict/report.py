"""How the results are told: a table with its caveats, or JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.utils import disp_len

from src.figures.words import short
from src.pipeline import paths
from src.pipeline.errors import one_line
from src.predict.classifier import Classifier, Guess
from src.predict.files import Fault

ORDER = ("likeliest", "second", "third")


@dataclass(frozen=True)
class Result:
    """A picture's file, its likeliest classes, and the file that explains the first one."""

    file: Path
    guesses: list[Guess]
    explanation: Path | None


def percent(probability: float) -> str:
    return f"{probability:.1%}"


def in_words(guess: Guess, length: int) -> str:
    """The class's name, of at most `length` letters, and its probability."""
    return f"{short(guess.name, length)} {percent(guess.probability)}"


def remark(guesses: Sequence[Guess], classifier: Classifier) -> str:
    """What a calibrated probability says beyond its number, or nothing."""
    unsure = guesses[0].probability < 0.5 and not classifier.uncalibrated
    return "unsure: more likely wrong than right" if unsure else ""


def table(results: Sequence[Result], classifier: Classifier) -> str:
    """A line for each picture, in columns."""
    header = ["picture", *ORDER[: len(results[0].guesses)], ""]
    rows = [
        [
            one_line(str(r.file)),
            *(one_line(in_words(g, 32)) for g in r.guesses),
            remark(r.guesses, classifier),
        ]
        for r in results
    ]
    columns = zip(header, *rows, strict=True)
    widths = [max(map(disp_len, column)) for column in columns]
    lines = [
        "  ".join(fill(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join(lines)


def fill(cell: str, width: int) -> str:
    """The cell, as wide as its column on a terminal, where some letters take two places."""
    return cell + " " * (width - disp_len(cell))


def caveat(classifier: Classifier) -> str:
    """What the probabilities mean, and what they cannot say."""
    classes = len(classifier.names)
    if classifier.uncalibrated:
        meaning = f"These probabilities are not calibrated, because {classifier.uncalibrated}."
    else:
        meaning = (
            f"These probabilities are scaled by the temperature {classifier.temperature:.3g}, "
            "which fits held-out pictures like those of the training best as a whole; "
            f"{classifier.project / paths.PLOTS / 'calibration.png'} shows how far from the truth "
            "they still are at each level."
        )
    return (
        f"{meaning} The network names one of its {classes} classes for any picture; a high "
        "probability does not say that the picture shows one of them."
    )


def as_json(
    results: Sequence[Result], faults: Sequence[Fault], weights: Path, classifier: Classifier
) -> str:
    """The results, faults and caveats as one JSON object, in ASCII, which every stdout takes."""
    calibration: dict[str, Any] = {"calibrated": not classifier.uncalibrated}
    if classifier.uncalibrated:
        calibration["why_not"] = classifier.uncalibrated
    else:
        calibration["temperature"] = classifier.temperature
    about = {"weights": str(weights), "classes": len(classifier.names), **calibration}
    pictures = [result_as_json(result) for result in results]
    errors = [{"file": name, "error": sentence} for name, sentence in faults]
    values = {**about, "pictures": pictures, "errors": errors}
    return json.dumps(values, indent=2, allow_nan=False)


def result_as_json(result: Result) -> dict[str, Any]:
    explanation = {"explanation": str(result.explanation)} if result.explanation else {}
    return {"file": str(result.file), "classes": guesses_as_json(result.guesses), **explanation}


def guesses_as_json(guesses: Sequence[Guess]) -> list[dict[str, Any]]:
    return [{"name": guess.name, "probability": guess.probability} for guess in guesses]
