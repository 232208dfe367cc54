"""The command: load the network, serve the page until Ctrl-C."""

import argparse
from collections.abc import Sequence

from src.pipeline.command import run_command
from src.predict.command import add_weights


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m src.app", description="A page on this machine to drop pictures on."
    )
    add_weights(parser)
    parser.add_argument(
        "--port",
        type=int,
        default=8000,
        help="the port (%(default)s); 0 is any free one",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command(lambda: run(parse(arguments)))


def run(options: argparse.Namespace) -> None:
    """Serve the page; InputError where the port cannot be had or the weights cannot serve."""
    # torch and the server are loaded when all arguments are in order.
    from src.app.server import listen, serve
    from src.predict.classifier import load_classifier

    # First the port, then the network: a taken port is told at once.
    with listen(options.port) as listener:
        classifier = load_classifier(options.weights)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        print(f"Open {url} in a browser on this machine. Ctrl-C ends it.", flush=True)
        serve(classifier, listener)
