"""A command ends with a status and at most a sentence, whatever a name holds."""

import io
import subprocess
import sys
from collections.abc import Callable

import pytest

from src.pipeline.command import run_command
from src.pipeline.errors import InputError, one_line
from tests.conftest import ROOT, run


def ended(run: Callable[[], int | None]) -> object:
    with pytest.raises(SystemExit) as end:
        run_command(run)
    return end.value.code


def failing(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


def test_a_command_ends_with_its_status() -> None:
    assert ended(lambda: 1) == 1
    assert ended(lambda: None) is None
    assert ended(failing(KeyboardInterrupt())) == 130


def test_a_fault_is_a_sentence_in_one_line() -> None:
    assert ended(failing(InputError("a\nb\x1b[2J.png: is no picture"))) == (
        r"error: a\nb\x1b[2J.png: is no picture"
    )


def test_what_cannot_be_printed_is_an_escape() -> None:
    name = "Käfer 犬\r\n\t\x1b\x7f\x85\u202e\udcff.png"
    assert one_line(name) == r"Käfer 犬\r\n\t\x1b\x7f\x85\u202e\udcff.png"


def test_a_letter_that_the_terminal_lacks_is_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "latin-1"))
    ended(lambda: print("Käfer 犬", flush=True))
    assert written.getvalue() == "Käfer \\u72ac\n".encode("latin-1")


@pytest.mark.parametrize("ending", ["", ", flush=True"])
def test_a_reader_that_wants_no_more_is_no_fault(ending: str) -> None:
    """As in `python -m src.predict photos | head -1`."""
    code = "input(); from src.pipeline.command import run_command; "
    code += f"run_command(lambda: print(1{ending}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    process.stdout.close()
    _, errors = process.communicate("\n")
    assert (process.returncode, errors) == (141, "")


def test_without_a_stdout_it_ends_all_the_same() -> None:
    code = "from src.pipeline.command import run_command; run_command(lambda: print(1))"
    done = run(ROOT, "sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code)
    assert done.stderr == ""


def test_a_full_disk_behind_stdout_is_a_sentence() -> None:
    code = "from src.pipeline.command import run_command; run_command(lambda: print(1))"
    done = run(ROOT, "sh", "-c", 'exec "$0" -c "$1" > /dev/full', sys.executable, code, check=False)
    assert done.returncode == 1
    said = "error: stdout cannot be written (No space left on device); free some space\n"
    assert done.stderr == said
