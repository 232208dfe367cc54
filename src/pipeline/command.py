"""How a command starts and ends: figures that need no window, a fault in a sentence, Ctrl-C."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from src.pipeline.errors import InputError, one_line

# Figures are drawn into files. A command started from Jupyter would inherit Jupyter's backend, and
# Matplotlib cannot be imported where that module is missing.
os.environ["MPLBACKEND"] = "agg"

INTERRUPTED = 130
PIPE_CLOSED = 141


def print_any_letter() -> None:
    """Let stdout write a letter that the terminal lacks as an escape, and not fail."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def run_command(run: Callable[[], int | None]) -> None:
    """End with the status of `run`; a fault of the user's becomes a sentence and status 1."""
    print_any_letter()
    try:
        with stdout_may_end("error"):
            status = run()
        sys.exit(status)
    except InputError as error:
        sys.exit(f"error: {one_line(str(error))}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextmanager
def stdout_may_end(label: str) -> Iterator[None]:
    """End without a traceback where stdout is closed or its disk is full.

    label: what the sentence about a full disk begins with.
    """
    try:
        yield
        print(end="", flush=True)
    except BrokenPipeError:
        # As in `… | head -1`.
        let_go_of_stdout()
        sys.exit(PIPE_CLOSED)
    except OSError as error:
        # Files are written by src/pipeline/files.py, which says what is wrong with them.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        let_go_of_stdout()
        sys.exit(f"{label}: stdout cannot be written ({error.strerror}); free some space")


def not_started(program: str, fault: OSError) -> InputError:
    """What to do where a program of .venv is not found."""
    return InputError(
        f"{program} cannot be started ({fault.strerror}); `source .venv/bin/activate` first, or "
        "install it"
    )


def let_go_of_stdout() -> None:
    """At its end Python writes out what is left, and would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
