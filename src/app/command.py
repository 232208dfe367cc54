"""The command: load the network, serve the page until Ctrl-C."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from src.pipeline import paths
from src.pipeline.errors import InputError


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m src.app", description="A page on this machine to drop pictures on."
    )
    parser.add_argument(
        "--weights", type=Path, default=paths.WEIGHTS, help="the weights file (%(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8000,
        help="the port (%(default)s); 0 is any free one",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a fault becomes a sentence on stderr and status 1."""
    # A user's own backend might not be there.
    os.environ["MPLBACKEND"] = "agg"
    options = parse(arguments)
    try:
        from src.app.server import listen, serve
        from src.predict.classifier import load_classifier

        # First the port, then the network: a taken port is told at once.
        with listen(options.port) as listener:
            classifier = load_classifier(options.weights)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            print(f"Open {url} in a browser on this machine. Ctrl-C ends it.", flush=True)
            serve(classifier, listener)
    except InputError as error:
        sys.exit(f"error: {error}")
