"""A person's way through the study in real Chromium: ten tasks by keyboard, a killed server, a phone's width.

Screenshots are kept in runs/screenshots/ so that a person can look at them.
"""

import re
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from browser import open_browser, skip_without_browser
from study_world import Server, write_small_plan

from solesearch.core.paths import Paths
from solesearch.people import answers

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed: no browser test")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    skip_without_browser()
    with open_browser(width=1280, height=900) as opened:
        yield opened.driver


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory):
    """One server for all tests, which use a name each; a test that kills it starts it again."""
    root = tmp_path_factory.mktemp("study")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(repository / name, root / name)
    write_small_plan(Paths("smoke", root))
    running = Server(root).start()
    yield running
    running.kill()


class Visitor:
    """What a person does: looks, presses keys, waits."""

    def __init__(self, driver, server: Server, screenshots: Path):
        """Open the study with an empty memory."""
        self.driver, self.server, self.screenshots = driver, server, screenshots
        self.resize(1280, 900)
        driver.get(f"{server.address}/study/")
        driver.execute_script("localStorage.clear()")
        driver.get(f"{server.address}/study/")

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window whose inside is `width` pixels wide."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def shows(self, element: str) -> bool:
        return self.driver.find_element(By.ID, element).is_displayed()

    def text(self, element: str) -> str:
        return self.driver.find_element(By.ID, element).text

    def wait(self, what) -> None:
        WebDriverWait(self.driver, 120, poll_frequency=0.05).until(lambda _: what())

    def press(self, *keys: str) -> None:
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()

    def begin(self, name: str) -> None:
        self.wait(lambda: self.shows("name"))
        self.driver.find_element(By.ID, "name").send_keys(name, Keys.ENTER)
        self.answered(0)

    def answered(self, count: int) -> None:
        """Wait until the page says that `count` tasks are answered and shows the next with its photos."""
        self.wait(lambda: self.text("count").startswith(f"{count} of "))
        complete = "return [...document.images].every(image => image.complete && image.naturalWidth)"
        self.wait(lambda: self.driver.execute_script(complete))

    def picture(self, name: str) -> None:
        self.driver.save_screenshot(str(self.screenshots / f"study-{name}.png"))

    def ticked(self) -> str:
        boxes = self.driver.find_elements(By.CSS_SELECTOR, "#rows input")
        return "".join(box.get_attribute("value") for box in boxes if box.is_selected())


@pytest.fixture
def visitor(browser, server: Server) -> Visitor:
    screenshots = Path(__file__).resolve().parents[2] / "runs" / "screenshots"
    screenshots.mkdir(parents=True, exist_ok=True)
    return Visitor(browser, server, screenshots)


def answers_of(server: Server, name: str) -> pd.DataFrame:
    table = answers.AnswerStore(Paths("smoke", server.root).answer_store).table()
    return table[table["annotator"] == name]


def stored(server: Server, name: str) -> list[str]:
    """Return `task:rows` of every answer."""
    return [f"{line.task}:{line.rows}" for line in answers_of(server, name).itertuples()]


def test_ten_tasks_by_keyboard_across_a_killed_server(visitor: Visitor, server: Server) -> None:
    visitor.begin("ann-1")
    visitor.picture("task")
    for number, keys in enumerate(["1", "2", "13", "0", "3"], start=1):
        visitor.press(*keys)
        visitor.press(Keys.ENTER, Keys.ENTER)  # a nervous finger
        visitor.answered(number)
    visitor.press("1")
    server.kill()
    visitor.press(Keys.ENTER)  # nobody is there to take it
    visitor.wait(lambda: "does not answer" in visitor.text("message"))
    visitor.picture("server-gone")
    server.start()
    visitor.answered(6)  # sent again by itself
    assert visitor.text("message") == ""
    visitor.press("2", Keys.ENTER)
    visitor.answered(7)
    visitor.driver.get(f"{server.address}/study/")  # the tab is closed and opened again
    visitor.answered(7)
    for number, key in enumerate("n23", start=8):
        visitor.press(key, Keys.ENTER)
        visitor.answered(number)
    rows = ["A", "B", "AC", "", "C", "A", "B", "", "B", "C"]
    assert stored(server, "ann-1") == [f"t{number:03d}:{letters}" for number, letters in enumerate(rows, 1)]


def test_undo_pause_and_the_end(visitor: Visitor, server: Server) -> None:
    visitor.begin("bo")
    visitor.press(Keys.ENTER)  # nothing ticked yet
    visitor.wait(lambda: "Tick at least one row" in visitor.text("message"))
    visitor.press("1", "2", Keys.ENTER)
    visitor.answered(1)
    visitor.press("u")
    visitor.answered(0)
    assert visitor.ticked() == "AB"
    visitor.press("1", "1", "2", "0")  # none takes the ticks away
    assert visitor.ticked() == ""
    visitor.press(Keys.ENTER)
    visitor.answered(1)
    assert stored(server, "bo") == ["t001:"]

    visitor.press("p")
    visitor.wait(lambda: visitor.shows("paused"))
    time.sleep(0.7)
    visitor.driver.get(f"{server.address}/study/")  # still paused after a reload
    visitor.wait(lambda: visitor.shows("paused"))
    visitor.press("p")
    visitor.answered(1)
    for number in range(2, 12):
        visitor.press("1", Keys.ENTER)
        visitor.answered(number)
    assert answers_of(server, "bo")["milliseconds"].between(1, 60_000).all()
    assert visitor.shows("done") and "Thank you" in visitor.text("done")
    visitor.press("u")
    visitor.answered(10)
    assert visitor.shows("task") and visitor.ticked() == "A"


def test_answer_of_a_closed_tab_is_sent_when_it_opens_again(visitor: Visitor, server: Server) -> None:
    visitor.begin("cy")
    server.kill()
    visitor.press("2", Keys.ENTER)
    visitor.wait(lambda: "does not answer" in visitor.text("message"))
    visitor.driver.get("about:blank")
    server.start()
    visitor.driver.get(f"{server.address}/study/")
    visitor.answered(1)
    assert stored(server, "cy") == ["t001:B"]


def test_phone_width_mouse_and_access(visitor: Visitor, server: Server) -> None:
    visitor.begin("dee")
    visitor.resize(390, 844)
    script = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    visitor.wait(lambda: visitor.driver.execute_script(script))  # nothing to scroll sideways
    visitor.picture("phone")
    rows = visitor.driver.find_elements(By.CSS_SELECTOR, "#rows .row")
    photo = visitor.driver.find_element(By.CSS_SELECTOR, "#rows img")
    assert photo.size["width"] >= 50
    assert all(image.get_attribute("alt") for image in visitor.driver.find_elements(By.TAG_NAME, "img"))
    rows[1].click()
    assert visitor.ticked() == "B"
    button = visitor.driver.find_element(By.ID, "next")
    visitor.driver.execute_script("arguments[0].scrollIntoView()", button)
    webdriver.ActionChains(visitor.driver).double_click(button).perform()
    visitor.answered(1)
    assert stored(server, "dee") == ["t001:B"]

    visitor.press(Keys.TAB)  # from the query's head to the first row
    assert visitor.driver.switch_to.active_element.get_attribute("aria-label") == "Row A, key 1"
    visitor.press(Keys.SPACE)
    assert visitor.ticked() == "A"
    outline = "return getComputedStyle(document.querySelector('#rows .row')).outlineStyle"
    assert visitor.driver.execute_script(outline) == "solid"


def test_no_request_leaves_the_server_and_no_error_is_logged(visitor: Visitor, server: Server) -> None:
    visitor.begin("eve")
    names = "return performance.getEntriesByType('resource').map(one => one.name)"
    asked = visitor.driver.execute_script(names)
    assert asked and all(name.startswith(server.address) for name in asked)
    logged = [entry["message"] for entry in visitor.driver.get_log("browser") if entry["level"] == "SEVERE"]
    # the killed server of other tests refuses connections, and nobody made an icon
    assert [words for words in logged if not re.search("favicon|ERR_CONNECTION|ERR_EMPTY", words)] == []


def test_contrast_of_all_text_is_at_least_four_and_a_half(visitor: Visitor) -> None:
    """WCAG 2.1, 1.4.3: relative luminances of text and of what lies behind it."""
    visitor.begin("flo")
    visitor.press("1")
    pairs = visitor.driver.execute_script("""
        const parse = colour => colour.match(/[\\d.]+/g).map(Number);
        const behind = node => { for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour; } return [255, 255, 255]; };
        return [...document.querySelectorAll("h1,h2,p,span,kbd,button,footer")]
            .filter(node => node.offsetParent && node.textContent.trim() && !node.disabled)
            .map(node => [parse(getComputedStyle(node).color), behind(node), node.textContent.trim()]);
    """)
    assert len(pairs) > 10
    for text, back, words in pairs:
        lighter, darker = sorted((luminance(text), luminance(back)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (words, text, back)


def luminance(colour: list[float]) -> float:
    parts = [part / 255 for part in colour[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
