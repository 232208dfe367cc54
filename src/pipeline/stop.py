"""Stopping cleanly: on Ctrl-C, on SIGTERM, and when the dvc that started us has died."""

import os
import signal
import time
from types import FrameType, TracebackType

# Read at once: dvc may be killed in the seconds that other imports, data and model take.
PARENT = os.getppid()
# DVC sets it for its stages. A stage started by hand may outlive its shell, as under nohup.
BY_DVC = "DVC_STAGE" in os.environ
# `timeout` signals its child and then the whole group: that is one request, not two.
ONE_REQUEST_S = 1.0


class Stopped(Exception):
    """Training was asked to stop. code: the exit status that tells why."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class StopRequest:
    """While entered, notes the wish to stop instead of dying in the middle of a step.

    A further signal more than a second after the first ends the process at once.
    """

    def __enter__(self) -> "StopRequest":
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
        # An orphan gets another parent: dvc was killed, and nobody waits for a result.
        if BY_DVC and os.getppid() != PARENT:
            raise Stopped("stopped because the dvc that started it has ended", 1)
