"""The command: say what tells two runs apart, and draw the images that changed side."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from src.pipeline.command import run_command
from src.pipeline.errors import one_line
from src.pipeline.revision import WORKSPACE

FIGURE = Path("dvc_plots/compare.png")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m src.compare",
        description="Do two runs differ by more than chance on the test images? A and B are git "
        f"revisions, DVC experiments, or `{WORKSPACE}`, the working copy. Logits and labels come "
        "from DVC's cache; nothing is computed anew.",
    )
    parser.add_argument("a", nargs="?", default="HEAD", metavar="A", help="default: %(default)s")
    parser.add_argument("b", nargs="?", default=WORKSPACE, metavar="B", help="default: %(default)s")
    parser.add_argument("--out", type=png, default=FIGURE, help="the figure; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    return parser.parse_args(arguments)


def png(text: str) -> Path:
    """The path of a figure, which is a PNG whatever its name says."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{one_line(text)} does not end in .png")
    return Path(text)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command(lambda: run(parse(arguments)))


def run(options: argparse.Namespace) -> None:
    """Say it first, then draw it: a folder that cannot be written must not hide the numbers."""
    # torch takes seconds to load, and Ctrl-C in that time is no fault of the program.
    from src.compare.figure import draw_compare
    from src.compare.report import as_json, as_text, compare
    from src.compare.runs import check_pair, read_run

    a, b = read_run(options.a), read_run(options.b)
    check_pair(a, b)
    found = compare(a, b)
    print(json.dumps(as_json(found), indent=2) if options.json else as_text(found), flush=True)
    draw_compare(options.out, a.test.images, found.sides, found.names, a.classes, found.calibrated)
    if not options.json and any(found.sides):
        print(f"their pictures: {one_line(str(options.out))}")
