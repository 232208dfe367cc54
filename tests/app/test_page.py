"""What someone sees who drops a picture on the page, with a mouse, a keyboard or a phone."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from src.app.server import PAGE
from src.pictures import read_picture
from src.predict.classifier import load_classifier
from src.predict.report import in_words
from src.predict.sheet import evidence

CSS = (PAGE / "page.css").read_text()
DROP = """
const dataTransfer = new DataTransfer();
for (const [content, name] of arguments) {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  dataTransfer.items.add(new File([bytes], name));
}
for (const kind of ["dragenter", "dragover", "drop"]) {
  const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
  const opens = document.getElementById("drop").dispatchEvent(event);
  if (opens) throw new Error("the browser would open the file in the page's place");
}"""
# Answers come only after release().
HOLD = """
const ask = window.fetch;
const released = new Promise((resolve) => { window.release = resolve; });
window.fetch = async (...words) => { await released; return ask(...words); };"""
OTHER = """
const first = window.fetch;
window.fetch = async (address, ...words) => address === "about"
  ? { json: async () => ({ classes: ["ant", "bee"], caveat: "Not calibrated.", max_bytes: 9e6 }) }
  : first(address, ...words);"""
# What the page has asked the server for.
ASKED = "return performance.getEntriesByType('resource').map((each) => each.name)"
# A chosen file waits in window.chosen, before the page sees it.
KEEP = """
window.addEventListener("change", (event) => {
  event.stopImmediatePropagation();
  window.chosen = [...event.target.files];
}, { capture: true });"""
SHOWN = """
const image = document.getElementById("picture");
return [image.complete && image.naturalWidth, image.naturalHeight, image.src];"""


class Page:
    """The page in a browser, by the ids of its parts."""

    def __init__(self, window: Chrome, url: str) -> None:
        self.window, self.url = window, url
        window.get(url)
        self.wait(lambda: self.text("classes"))

    def wait(self, until) -> None:
        WebDriverWait(self.window, 60).until(lambda _: until())

    def at(self, name: str) -> WebElement:
        return self.window.find_element(By.ID, name)

    def text(self, name: str) -> str:
        return self.at(name).text

    def drop(self, *files: Path) -> None:
        contents = [base64.b64encode(file.read_bytes()).decode() for file in files]
        names = [file.name for file in files]
        self.window.execute_script(DROP, *map(list, zip(contents, names, strict=True)))

    def press(self, key: str) -> None:
        ActionChains(self.window).send_keys(key).perform()

    def shown(self) -> str:
        """The address of the picture, once it is drawn."""
        self.wait(lambda: self.window.execute_script(SHOWN)[0])
        width, height, address = self.window.execute_script(SHOWN)
        assert (width, height) == (270, 180)
        return address


@pytest.fixture
def page(chromium: Chrome, url: str) -> Page:
    return Page(chromium, url)


def test_a_dropped_picture_gets_its_class_and_an_overlay_for_each_layer(
    page: Page, photos: Path, weights: Path
) -> None:
    page.drop(photos / "a.png")
    page.wait(lambda: page.at("result").is_displayed())
    guesses = load_classifier(weights).classify(read_picture(photos / "a.png"))
    first = guesses[0]
    assert page.text("said") == f"a.png: {first.name}, {first.probability:.1%}"
    assert page.text("guesses").splitlines() == [in_words(guess, 99) for guess in guesses]
    assert page.text("caveat").startswith("These probabilities are scaled by the temperature 2.5, ")
    assert page.text("error") == ""
    seen = {page.text("shown"): page.shown()}
    for _ in range(4):
        page.at("layer").send_keys(Keys.ARROW_LEFT)
        assert page.at("layer").get_attribute("aria-valuetext") == page.text("shown")
        assert page.at("scale").is_displayed() is (page.text("shown") != "the picture")
        seen[page.text("shown")] = page.shown()
    names = [f"layer{number}: evidence for {first.name}" for number in (4, 3, 2, 1)]
    assert list(seen) == [*names, "the picture"]
    assert len(set(seen.values())) == 5
    assert all(address.startswith("data:image/jpeg") for address in seen.values())


def test_a_dropped_text_gets_a_sentence_and_the_page_goes_on(page: Page, photos: Path) -> None:
    page.drop(photos / "notes.txt")
    page.wait(lambda: page.text("error"))
    assert page.text("error").startswith("notes.txt: is no picture of a kind that is read here")
    assert not page.at("result").is_displayed()
    page.drop(photos / "old/c.webp")
    page.wait(lambda: page.at("result").is_displayed())
    assert page.text("said").startswith("c.webp: ")
    assert page.text("error") == ""


def test_too_large_a_file_is_not_even_sent(page: Page, tmp_path: Path) -> None:
    page.window.execute_script("about.max_bytes = 1000")
    (tmp_path / "film.png").write_bytes(bytes(1001))
    page.drop(tmp_path / "film.png")
    page.wait(lambda: page.text("error"))
    assert page.text("error") == "film.png: has more than 0 MB; make it smaller"
    assert f"{page.url}predict" not in page.window.execute_script(ASKED)


def test_a_file_that_is_gone_is_told_as_such(page: Page, photos: Path, tmp_path: Path) -> None:
    """The browser says the same of a folder that is dropped."""
    gone = tmp_path / "gone.png"
    gone.write_bytes((photos / "a.png").read_bytes())
    page.window.execute_script(KEEP)
    page.at("file").send_keys(str(gone))
    gone.unlink()
    page.window.execute_script("take(window.chosen)")
    page.wait(lambda: page.text("error"))
    assert page.text("error") == "gone.png: cannot be read; drop a picture file, not a folder"
    assert page.text("status") == ""
    page.drop(photos / "a.png")
    page.wait(lambda: page.at("result").is_displayed())


def test_a_picture_that_is_dropped_meanwhile_waits(page: Page, photos: Path) -> None:
    page.window.execute_script(HOLD)
    page.drop(photos / "a.png")
    page.drop(photos / "b [1].JPG")
    page.drop(photos / "old/c.webp")
    assert page.text("status") == "Looking at a.png …, then at c.webp."
    page.window.execute_script("window.release()")
    page.wait(lambda: page.text("said").startswith("c.webp: "))
    asked = page.window.execute_script(ASKED)
    assert asked.count(f"{page.url}predict") == 2


def test_what_was_wrong_stays_while_the_next_is_looked_at(page: Page, photos: Path) -> None:
    page.window.execute_script(HOLD)
    page.drop(photos / "notes.txt")
    page.drop(photos / "a.png")
    page.window.execute_script("window.release()")
    page.wait(lambda: page.text("said").startswith("a.png: "))
    assert page.text("error").startswith("notes.txt: is no picture")
    page.drop(photos / "a.png")
    page.wait(lambda: page.at("result").is_displayed())
    assert page.text("error") == ""


def test_another_network_behind_the_page_is_described_as_it_is(page: Page, photos: Path) -> None:
    """The server was ended and started again, and the page stayed open."""
    page.window.execute_script(OTHER)
    page.drop(photos / "a.png")
    page.wait(lambda: page.at("result").is_displayed())
    page.wait(lambda: page.text("caveat") == "Not calibrated.")
    assert page.text("classes") == "The network knows: ant, bee."


def test_what_is_said_next_can_be_noticed_while_nothing_is_said(page: Page) -> None:
    """Screen readers tell of changes in a region that they have seen, empty as it was."""
    for name in ("status", "error"):
        assert page.text(name) == ""
        assert page.at(name).value_of_css_property("display") == "block"
        assert page.at(name).rect["height"] == 0


def test_of_several_pictures_the_first_is_taken_and_the_page_says_so(
    page: Page, photos: Path
) -> None:
    said = "Only the first of 2 files is taken; drop one at a time."
    page.drop(photos / "a.png", photos / "old/c.webp")
    page.wait(lambda: page.at("result").is_displayed())
    assert page.text("said").startswith("a.png: ")
    assert page.text("status") == f"{page.text('said')}. {said}"
    page.drop(photos / "notes.txt", photos / "a.png")
    page.wait(lambda: page.text("error"))
    assert page.text("error").startswith("notes.txt: is no picture")
    assert page.text("status") == said
    page.drop(photos / "a.png")
    page.wait(lambda: page.at("result").is_displayed())
    assert page.at("status").get_attribute("textContent") == page.text("said")


def test_a_keyboard_is_enough(page: Page, photos: Path) -> None:
    page.press(Keys.TAB)
    assert page.window.switch_to.active_element == page.at("file")
    page.at("file").send_keys(str(photos / "b [1].JPG"))
    page.wait(lambda: page.at("result").is_displayed())
    assert page.text("said").startswith("b [1].JPG: ")
    page.press(Keys.TAB)
    assert page.window.switch_to.active_element == page.at("layer")
    page.press(Keys.ARROW_LEFT)
    assert page.text("shown").startswith("layer3: ")
    page.drop(photos / "a.png")
    page.wait(lambda: page.text("said").startswith("a.png: "))
    assert page.window.switch_to.active_element == page.at("file")


def test_everything_has_a_name_for_those_who_do_not_see_it(page: Page, photos: Path) -> None:
    page.drop(photos / "a.png")
    page.wait(lambda: page.at("result").is_displayed())
    assert page.at("file").accessible_name == "Choose a picture or drop one here"
    assert page.at("layer").accessible_name == "Show"
    assert page.at("layer").get_attribute("aria-valuetext").startswith("layer4: evidence for ")
    assert page.at("picture").accessible_name.startswith("a.png, layer4: evidence for ")
    assert page.at("status").aria_role == "status"
    assert page.at("error").get_attribute("role") == "alert"
    assert page.at("status").get_attribute("textContent") == page.text("said")


def test_the_scale_has_the_colours_of_the_evidence() -> None:
    """Those of a map from 0 to 1 over grey."""
    grey = np.full((5, 5, 3), 128, np.uint8)
    colours = evidence(grey, np.tile(np.linspace(0, 1, 5), (5, 1)))[0]
    shown = re.findall("#([0-9a-f]{6})", re.search("gradient(.*);", CSS)[1])
    found = np.array([list(bytes.fromhex(colour)) for colour in shown])
    assert np.abs(found - colours).max() <= 1


@pytest.mark.parametrize("width", [320, 375, 1200])
def test_it_fits_a_phone_and_a_desk(page: Page, photos: Path, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    page.window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.drop(photos / "a.png")
        page.wait(lambda: page.at("result").is_displayed())
        assert page.window.execute_script("return document.documentElement.scrollWidth") == width
    finally:
        page.window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_leaves_the_machine_and_no_rule_is_broken(page: Page, photos: Path) -> None:
    page.window.get_log("browser")
    page.drop(photos / "a.png")
    page.wait(lambda: page.at("result").is_displayed())
    page.shown()
    asked = page.window.execute_script(ASKED)
    assert f"{page.url}predict" in asked
    assert all(address.startswith((page.url, "data:")) for address in asked)
    assert [entry["message"] for entry in page.window.get_log("browser")] == []
