"""The served page, and a headless Chromium to look at it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests import browser
from tests.conftest import ROOT
from tests.predict.conftest import photos, weights

__all__ = ["photos", "weights"]


@pytest.fixture(scope="session")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server writes to stderr."""
    return tmp_path_factory.mktemp("app") / "stderr"


@pytest.fixture(scope="session")
def url(weights: Path, terminal: Path) -> Iterator[str]:
    """The address that `python -m src.app` prints; it runs meanwhile, and ends well."""
    command = [sys.executable, "-m", "src.app", "--port", "0", "--weights", str(weights)]
    with terminal.open("wb") as err:
        server = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, stderr=err, text=True
        )
    assert server.stdout
    lines = iter(server.stdout.readline, "")
    yield next(line for line in lines if line.startswith("Open http")).split()[1]
    server.terminate()
    assert server.wait(20) == 0
    server.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    with browser.chromium(reachable="127.0.0.1") as window:
        yield window
