"""Stopping cleanly: on Ctrl-C, on SIGTERM, and when the process that started us has died."""

import os
import signal
from types import FrameType, TracebackType

# Read at once: dvc may be killed in the seconds that other imports, data and model take.
PARENT = os.getppid()


class Stopped(Exception):
    """Training was asked to stop. code: the exit status that tells why."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class StopRequest:
    """While entered, notes the wish to stop instead of dying in the middle of a step.

    A second signal ends the process at once, as without us.
    """

    def __enter__(self) -> "StopRequest":
        self.received: int | None = None
        self.previous = {s: signal.signal(s, self.note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()

    def note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        self.restore()

    def restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Stopped where a signal came or the parent has died."""
        if self.received is not None:
            name = signal.Signals(self.received).name
            raise Stopped(f"stopped by {name}", 128 + self.received)
        # An orphan gets another parent: dvc was killed, and nobody waits for a result.
        if os.getppid() != PARENT:
            raise Stopped("stopped because the process that started it has ended", 1)
