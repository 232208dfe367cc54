"""The command: predict picture files, explain them, tell what could not be read."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from src.pipeline import paths
from src.pipeline.command import INTERRUPTED, run_command
from src.pipeline.errors import InputError, one_line
from src.pipeline.progress import hidden
from src.predict.explanations import explanation_files
from src.predict.files import Fault, find_pictures

if TYPE_CHECKING:
    from src.predict.classifier import Classifier
    from src.predict.report import Result


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m src.predict",
        description="What a trained network takes pictures for, with its probabilities.",
        epilog="The status is 1 if a picture could not be read or an explanation not written, "
        "130 after Ctrl-C, else 0.",
    )
    parser.add_argument("pictures", nargs="+", help="files, folders, or patterns like 'a/*.jpg'")
    parser.add_argument(
        "--explain",
        type=named,
        metavar="OUT",
        help="draw what speaks for the likeliest class at each layer: "
        "a file.png for one picture, a folder for several",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_weights(parser)
    return parser.parse_args(arguments)


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", type=named, default=paths.WEIGHTS, help="the weights file (%(default)s)"
    )


def named(text: str) -> Path:
    """The path of an argument; the empty one, say of an unset variable, would mean this folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return Path(text)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command(lambda: run(parse(arguments)))


def run(options: argparse.Namespace) -> int:
    """Predict what can be read; 1 where something could not, 130 after Ctrl-C, else 0."""
    pictures, faults = find_pictures(options.pictures)
    targets = explanation_files(options.explain, pictures) if options.explain else None
    for _, sentence in faults:
        complain(sentence)
    # torch is loaded when all arguments are in order.
    from src.predict.classifier import load_classifier
    from src.predict.report import as_json, caveat, table

    # Notes on the device belong to no result.
    with redirect_stdout(sys.stderr):
        classifier = load_classifier(options.weights)
    results, unread, stopped = predict_all(classifier, pictures, targets)
    faults += unread
    if options.json:
        print(as_json(results, faults, options.weights, classifier))
    elif results:
        print(table(results, classifier), caveat(classifier), sep="\n\n")
    if stopped:
        return INTERRUPTED
    return 1 if faults else 0


def predict_all(
    classifier: "Classifier", pictures: Sequence[Path], targets: Sequence[Path] | None
) -> tuple[list["Result"], list[Fault], bool]:
    """The results, the faults, and whether Ctrl-C ended it.

    targets: where the explanations are drawn. Ctrl-C leaves out the pictures that are left.
    """
    results: list[Result] = []
    faults = []
    done = 0
    disable = hidden() if pictures[1:] else True
    bar = tqdm(pictures, unit=" pictures", leave=False, disable=disable)
    try:
        for file, target in zip(bar, targets or repeat(None), strict=False):
            result, fault = predict_one(classifier, file, target)
            done += 1
            if result:
                results.append(result)
            if fault:
                faults.append((str(file), fault))
                complain(fault)
    except KeyboardInterrupt:
        bar.close()
        complain(f"stopped by Ctrl-C after {done} of {len(pictures)} pictures")
        left = [(str(f), f"{f}: is left out, because Ctrl-C came first") for f in pictures[done:]]
        return results, faults + left, True
    return results, faults, False


def predict_one(
    classifier: "Classifier", file: Path, target: Path | None
) -> tuple["Result | None", str]:
    """What the network says of a file, and why that could not be read or explained.

    target: where it is explained. An answer stays where its explanation fails.
    """
    from src.pictures import read_picture
    from src.predict.explain import explain, memory_for_picture
    from src.predict.report import Result

    result = None
    try:
        picture = read_picture(file)
        with memory_for_picture(f"{file}: the picture"):
            result = Result(file, classifier.classify(picture), None)
        if target:
            result = explain(classifier, picture, result, target)
    except InputError as error:
        return result, str(error)
    return result, ""


def complain(sentence: str) -> None:
    """A sentence on stderr, above the progress bar; tqdm would take stdout where there is none."""
    if sys.stderr:
        tqdm.write(f"error: {one_line(sentence)}", file=sys.stderr)
