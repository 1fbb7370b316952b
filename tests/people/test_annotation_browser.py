"""A person's way through the study in real Chromium: ten tasks by keyboard, a killed server, a phone's width.

Screenshots are kept in runs/screenshots/ so that a person can look at them.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, open_browser, skip_without_browser
from study_world import Server, write_small_plan

from solesearch.core.paths import Paths
from solesearch.people.answers import AnswerStore

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed: no browser test")
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SCREENSHOTS = Path(__file__).resolve().parents[2] / "runs" / "screenshots"


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests, which use a name each; a test that kills it starts it again."""
    root = tmp_path_factory.mktemp("study")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(repository / name, root / name)
    write_small_plan(Paths("smoke", root))
    running = Server(root).start()
    yield running
    running.kill()


@pytest.fixture
def browser(server: Server) -> Iterator[Browser]:
    """The study in a browser with an empty memory."""
    skip_without_browser()
    with open_browser(width=1280, height=900) as opened:
        opened.driver.get(f"{server.address}/study/")
        yield opened


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        webdriver.ActionChains(browser.driver).send_keys(key).perform()


def begin(browser: Browser, name: str) -> None:
    browser.wait(lambda: browser.one("#name").is_displayed(), "the field for a name")
    browser.one("#name").send_keys(name, Keys.ENTER)
    answered(browser, 0)


def answered(browser: Browser, count: int) -> None:
    """Wait until the page says that `count` tasks are answered and shows the next with its photos."""
    browser.wait(lambda: browser.text("#count").startswith(f"{count} of "), f"{count} answers")
    complete = "return [...document.images].every(image => image.complete && image.naturalWidth)"
    browser.wait(lambda: browser.run(complete), "the photos")


def ticked(browser: Browser) -> str:
    return "".join(box.get_attribute("value") for box in browser.all("#rows input") if box.is_selected())


def stored(server: Server, name: str) -> list[str]:
    """Return `task:rows` of every answer."""
    table = AnswerStore(Paths("smoke", server.root).answer_store).table()
    assert table["milliseconds"].between(1, 60_000).all()
    return [f"{line.task}:{line.rows}" for line in table[table["annotator"] == name].itertuples()]


def test_ten_tasks_by_keyboard_across_a_killed_server(browser: Browser, server: Server) -> None:
    begin(browser, "ann-1")
    browser.picture(SCREENSHOTS / "study-task.png")
    for number, keys in enumerate(["1", "2", "13", "0", "3"], start=1):
        press(browser, *keys)
        press(browser, Keys.ENTER, Keys.ENTER)  # a nervous finger
        answered(browser, number)
    press(browser, "1")
    server.kill()
    press(browser, Keys.ENTER)  # nobody is there to take it
    browser.wait(lambda: "does not answer" in browser.text("#message"), "that the server is gone")
    browser.picture(SCREENSHOTS / "study-server-gone.png")
    server.start()
    answered(browser, 6)  # sent again by itself
    assert browser.text("#message") == ""
    server.kill()
    press(browser, "2", Keys.ENTER)
    browser.wait(lambda: "does not answer" in browser.text("#message"), "that the server is gone again")
    browser.driver.get("about:blank")  # the tab is closed ...
    server.start()
    browser.driver.get(f"{server.address}/study/")  # ... and sends the answer when it is opened again
    answered(browser, 7)
    for number, key in enumerate("n23", start=8):
        press(browser, key, Keys.ENTER)
        answered(browser, number)
    rows = ["A", "B", "AC", "", "C", "A", "B", "", "B", "C"]
    assert stored(server, "ann-1") == [f"t{number:03d}:{letters}" for number, letters in enumerate(rows, 1)]


def test_undo_pause_and_the_end(browser: Browser, server: Server) -> None:
    begin(browser, "bo")
    press(browser, Keys.ENTER)  # nothing ticked yet
    browser.wait(lambda: "Tick at least one row" in browser.text("#message"), "that nothing is ticked")
    press(browser, "1", "2", Keys.ENTER)
    answered(browser, 1)
    press(browser, "u")
    answered(browser, 0)
    assert ticked(browser) == "AB"
    press(browser, "1", "1", "2", "0")  # none takes the ticks away
    assert ticked(browser) == ""
    press(browser, Keys.ENTER)
    answered(browser, 1)
    assert stored(server, "bo") == ["t001:"]
    press(browser, "p")
    browser.driver.get(f"{server.address}/study/")  # still paused after a reload
    browser.wait(lambda: browser.one("#paused").is_displayed(), "the pause")
    press(browser, "p")
    answered(browser, 1)
    for number in range(2, 12):
        press(browser, "1", Keys.ENTER)
        answered(browser, number)
    assert browser.one("#done").is_displayed()
    press(browser, "u")
    answered(browser, 10)
    assert browser.one("#task").is_displayed() and ticked(browser) == "A"


def test_an_answer_to_a_plan_made_anew_stops_nobody(browser: Browser, server: Server) -> None:
    """A closed tab kept it, and it is refused for good when the tab is opened again."""
    pending = '{"annotator": "flo", "plan": "old", "task": "t001", "rows": ["A"], "milliseconds": 9}'
    browser.run(f"localStorage['study-annotator'] = 'flo'; localStorage['study-pending'] = '{pending}'")
    for words in ("planned anew", ""):
        browser.driver.get(f"{server.address}/study/")
        answered(browser, 0)
        browser.wait(lambda: words in browser.text("#message"), words)  # noqa: B023
        assert browser.one("#task").is_displayed() and stored(server, "flo") == []


def test_a_phone_a_mouse_and_the_keyboard(browser: Browser, server: Server) -> None:
    begin(browser, "dee")
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.width = 390
    browser.wait(lambda: browser.overflow() <= 0, "a page without sideways scrolling")
    browser.picture(SCREENSHOTS / "study-phone.png")
    assert browser.one("#rows img").size["width"] >= 50
    assert all(image.get_attribute("alt") for image in browser.all("img"))
    browser.press(browser.all("#rows .row")[1])
    assert ticked(browser) == "B"
    button = browser.one("#next")
    browser.run("arguments[0].scrollIntoView()", button)
    webdriver.ActionChains(browser.driver).double_click(button).perform()
    answered(browser, 1)
    assert stored(server, "dee") == ["t001:B"]
    press(browser, Keys.TAB)  # from the query's head to the first row
    assert browser.driver.switch_to.active_element.get_attribute("aria-label") == "Row A, key 1"
    press(browser, Keys.SPACE)
    assert ticked(browser) == "A"


def test_nothing_is_asked_for_elsewhere_and_all_text_can_be_read(browser: Browser, server: Server) -> None:
    """WCAG 2.1, 1.4.3: a contrast of 4.5, from relative luminances of text and of what lies behind it."""
    begin(browser, "eve")
    press(browser, "1")
    pairs = browser.run("""
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
    local = (server.address, "data:", "about:", "chrome")
    assert [address for address in browser.requests() if not address.startswith(local)] == []
    assert [words for words in browser.complaints() if not re.search("favicon", words)] == []


def luminance(colour: list[float]) -> float:
    parts = [part / 255 for part in colour[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
