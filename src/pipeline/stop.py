"""Stopping cleanly: on Ctrl-C, on SIGTERM, and when the dvc that started us has died."""

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType

# Read at once: dvc may be killed in the seconds that other imports, data and model take.
PARENT = os.getppid()
# DVC sets it for its stages. A stage started by hand may outlive its shell, as under nohup.
BY_DVC = "DVC_STAGE" in os.environ
# `timeout` signals its child and then the whole group: that is one request, not two.
ONE_REQUEST_S = 1.0
WATCH_S = 0.5
ENDED = "stopped because the dvc that started it has ended"


def orphaned() -> bool:
    """Whether dvc has died: an orphan gets another parent, and nobody waits for its result."""
    return BY_DVC and os.getppid() != PARENT


class Stopped(Exception):
    """Training was asked to stop, or stdout takes no more. code: the exit status."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class StopRequest:
    """While entered, notes the wish to stop instead of dying in the middle of a step.

    A further signal more than a second after the first ends the process at once.
    """

    entered = False

    def __enter__(self) -> "StopRequest":
        StopRequest.entered = True
        self.received: int | None = None
        self.at = 0.0
        self.previous = {s: signal.signal(s, self.note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()
        # A stage that is on its way out ends by itself.
        StopRequest.entered = error is not None

    def note(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received, self.at = number, time.monotonic()
        elif time.monotonic() - self.at > ONE_REQUEST_S:
            self.restore()
            os.kill(os.getpid(), number)

    def restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Stopped where a signal came or dvc has died."""
        if self.received is not None:
            name = signal.Signals(self.received).name
            raise Stopped(f"stopped by {name}", 128 + self.received)
        if orphaned():
            raise Stopped(ENDED, 1)


def end_with_dvc(name: str) -> None:
    """From now on end this process where dvc has died, but not while a StopRequest is entered.

    It would go on for minutes, and write its results over those of the next run.
    """

    def watch() -> None:
        while StopRequest.entered or not orphaned():
            time.sleep(WATCH_S)
        try:
            print(f"{name}: {ENDED}; nothing is recorded", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    if BY_DVC:
        threading.Thread(target=watch, daemon=True).start()
