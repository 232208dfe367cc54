"""A page as headless Chromium shows it: what is drawn, what the console says, what is asked for."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import SessionNotCreatedException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

READY = """return document.readyState === "complete"
  && !document.querySelector("[aria-busy=true]")
  && [...document.images].every((image) => image.complete)"""
FIGURES = """
const points = (path) => (path.getAttribute("d") ?? "").match(/[ML]/g)?.length ?? 0;
const marks = (figure, kind) => [...figure.querySelectorAll(`.mark-${kind}.role-mark > path`)];
return [...document.querySelectorAll("figure")].map((figure) => ({
  heading: figure.closest("section").querySelector("h2").textContent,
  caption: figure.querySelector("figcaption").textContent,
  text: figure.innerText,
  charts: figure.querySelectorAll("svg.marks").length,
  rects: marks(figure, "rect").filter((path) => path.getBBox().width > 0).length,
  lines: marks(figure, "line").map(points),
  images: [...figure.querySelectorAll("img")].map((image) => image.naturalWidth),
  edges: [...figure.querySelectorAll("img, svg.marks, figcaption")].map((each) => {
    const { left, right } = each.getBoundingClientRect();
    return [left, right];
  }),
}))"""


@dataclass(frozen=True)
class Look:
    """What one look at a page gives."""

    figures: dict[str, dict[str, Any]]  # by caption, in the page's order
    errors: list[str]
    requests: list[str]
    width: int  # of all that is there, in CSS pixels; more than the window's means scrolling


@contextmanager
def chromium(reachable: str = "") -> Iterator[Chrome]:
    """Headless Chromium with no way out of this machine; without it the test is skipped.

    reachable: the one host that it can ask, if any.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    hosts = "--host-resolver-rules=MAP * ~NOTFOUND" + (reachable and f", EXCLUDE {reachable}")
    # In a container /dev/shm is small.
    # There it has no sandbox either, and as root none anywhere; it reaches the tests' pages alone.
    for flag in ("--headless=new", "--disable-dev-shm-usage", "--no-sandbox", hosts):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        window = Chrome(options, Service(driver))
    except SessionNotCreatedException:
        # On a busy machine its start may take longer than its driver waits.
        window = Chrome(options, Service(driver))
    try:
        yield window
    finally:
        window.quit()


def look(page: Path, width: int) -> Look:
    """Open a page in a window of `width` CSS pixels; below 600 px it is a phone's."""
    with chromium() as window:
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        window.get(page.as_uri())
        WebDriverWait(window, 60).until(lambda window: window.execute_script(READY))
        figures = window.execute_script(FIGURES)
        assert len({figure["caption"] for figure in figures}) == len(figures)
        logs = [json.loads(e["message"])["message"] for e in window.get_log("performance")]
        return Look(
            {figure["caption"]: figure for figure in figures},
            [e["message"] for e in window.get_log("browser") if e["level"] == "SEVERE"],
            [m["params"]["request"]["url"] for m in logs if m["method"].endswith("BeSent")],
            window.execute_script("return document.documentElement.scrollWidth"),
        )
