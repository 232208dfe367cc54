"""The served page, and a headless Chromium to look at it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.conftest import ROOT
from tests.predict.conftest import photos, weights

__all__ = ["photos", "weights"]


@pytest.fixture(scope="session")
def url(weights: Path) -> Iterator[str]:
    """The address that `python -m src.app` prints; it runs meanwhile, and ends well."""
    command = [sys.executable, "-m", "src.app", "--port", "0", "--weights", str(weights)]
    server = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    lines = iter(server.stdout.readline, "")
    yield next(line for line in lines if line.startswith("Open http")).split()[1]
    server.terminate()
    assert server.wait(20) == 0
    server.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """A browser that reaches this machine alone; without Chromium the test is skipped."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    # In a container /dev/shm is small.
    for flag in ("--headless=new", "--disable-dev-shm-usage", alone):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = Chrome(options, Service(driver))
    yield window
    window.quit()
