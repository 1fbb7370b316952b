"""The page in a real Chromium: search by click and by upload, the map, the keyboard, a phone.

Screenshots land in runs/screenshots/, so that a person can look at them. Where no browser is, the tests are
skipped with a line that says so.
"""

from pathlib import Path

import pytest
from browser import Browser, open_browser, skip_without_browser
from page_world import PROFILE, draw_photo, make_showcase, png

from solesearch.core.web_address import first_free_port
from solesearch.page.page_process import PageProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ANSWERS = "#results .answers li"


@pytest.fixture(scope="module")
def pictures() -> Path:
    return Path(__file__).resolve().parents[2] / "runs" / "screenshots"


@pytest.fixture(scope="module")
def page(repository: Path, tmp_path_factory: pytest.TempPathFactory):
    skip_without_browser()
    root = tmp_path_factory.mktemp("browser")
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((repository / name).read_bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SOLESEARCH_ROOT", str(root))
        make_showcase()
        with PageProcess(PROFILE, port=first_free_port([0])) as running:
            yield running


@pytest.fixture(scope="module")
def desk(page: PageProcess):
    """A browser on a desk, with the page open; the tests below use it one after another."""
    with open_browser(width=1280, height=900) as browser:
        browser.driver.get(page.address)
        browser.wait(lambda: browser.all(ANSWERS), "the first answers")
        yield browser


def tab(browser: Browser, title: str) -> None:
    """Turn to a tab; pressed again where the bar was moving while it was pressed."""

    def turned() -> bool:
        button = next((one for one in browser.all("button[role=tab]") if one.text == title), None)
        if button and button.get_attribute("aria-selected") != "true":
            browser.press(button)
        return bool(button) and button.get_attribute("aria-selected") == "true"

    browser.wait(turned, f"the tab {title}")


def query(browser: Browser) -> str:
    return browser.one("#results .query img").get_attribute("alt")


def test_search_by_click(desk: Browser, pictures: Path) -> None:
    button = desk.one("#picker li:nth-child(3) button")
    wanted = button.get_attribute("title")
    desk.press(button)
    desk.wait(lambda: query(desk) == f"Query: {wanted}", "the answers to the pressed photo")
    first = desk.one(f"{ANSWERS} button").get_attribute("title")
    assert first != wanted
    desk.press(desk.one(f"{ANSWERS} button"))  # on from an answer; the keyboard's place goes along
    desk.wait(lambda: query(desk) == f"Query: {first}", "the answers to an answer")
    desk.wait(
        lambda: desk.run("return document.activeElement.className") == "query", "the focus on the query"
    )
    desk.picture(pictures / "search.png")


def test_models_side_by_side_and_the_same_class_marked(desk: Browser) -> None:
    boxes = [one for one in desk.all("input[type=checkbox]") if one.get_attribute("name") == "mean_colour"]
    before = len(desk.all("#results .model"))
    desk.press(boxes[0])
    desk.wait(lambda: len(desk.all("#results .model")) == before + 1, "one more model")
    assert "✓ same class" in desk.text("#results li.same")
    assert "✓" not in desk.text("#results li.other")
    frames = {
        kind: desk.run(
            f"return getComputedStyle(document.querySelector('#results li.{kind} button')).borderColor"
        )
        for kind in ("same", "other")
        if desk.all(f"#results li.{kind}")
    }
    assert frames["same"] == "rgb(21, 128, 61)"
    assert len(set(frames.values())) == len(frames)


def test_search_by_id_and_at_random(desk: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    field = next(one for one in desk.all("label") if "Photo id" in one.text).find_element(
        "css selector", "input, textarea"
    )
    field.send_keys("sandals/11.png", Keys.ENTER)
    desk.wait(lambda: "sandals/11.png" in query(desk), "the photo of the id")
    field.clear()
    field.send_keys("nowhere.png", Keys.ENTER)
    desk.wait(lambda: "no photo of that id" in desk.text("#results [role=alert]"), "that the id is unknown")
    desk.press(next(one for one in desk.all("button") if one.text == "Random photo"))
    desk.wait(lambda: desk.all("#results .query"), "a random photo's answers")


def test_upload(desk: Browser, pictures: Path, tmp_path: Path) -> None:
    photo, broken = tmp_path / "mine.png", tmp_path / "broken.jpg"
    photo.write_bytes(png(draw_photo("heels", 22)))
    broken.write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    desk.one("#upload-file").send_keys(str(photo))
    desk.wait(lambda: query(desk) == "Query: the photo you uploaded", "the answers to an upload")
    assert "heels/22.png" in desk.one(f"{ANSWERS} button").get_attribute("title")
    assert "distance 0" in desk.one(f"{ANSWERS} .facts").text
    desk.picture(pictures / "upload.png")
    desk.one("#upload-file").send_keys(str(broken))
    desk.wait(lambda: "no photo that can be read" in desk.text("#results [role=alert]"), "the refusal")
    desk.picture(pictures / "upload_refused.png")
    (tmp_path / "large.png").write_bytes(bytes(10_000_001))
    desk.one("#upload-file").send_keys(str(tmp_path / "large.png"))
    desk.wait(lambda: "larger than 10 MB" in desk.text("#results [role=alert]"), "the refusal of its size")


def test_the_keyboard_reaches_photos(desk: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    buttons = desk.all("#picker button.photo")
    desk.run("arguments[0].focus()", buttons[0])
    desk.driver.switch_to.active_element.send_keys(Keys.TAB)
    place = desk.driver.switch_to.active_element
    assert place.get_attribute("title") == buttons[1].get_attribute("title")
    place.send_keys(Keys.ENTER)
    desk.wait(lambda: query(desk) == f"Query: {buttons[1].get_attribute('title')}", "Enter's answers")


def test_everything_has_words(desk: Browser) -> None:
    """Pictures have alt texts, fields have labels, and every button says what it does."""
    assert desk.run("return [...document.images].filter((one) => !one.alt && one.offsetParent).length") == 0
    nameless = desk.run("""
        return [...document.querySelectorAll("input, select, textarea, button, iframe")]
          .filter((one) => one.offsetParent !== null && one.type !== "hidden")
          .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.title
                             || one.getAttribute("aria-labelledby") || one.textContent.trim()))
          .map((one) => one.outerHTML.slice(0, 200));""")
    assert nameless == []
    assert desk.run("return document.documentElement.lang") == "en"


def test_map(desk: Browser, pictures: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    tab(desk, "Map")
    mark = desk.one('svg.points path[data-number="5"]')
    desk.tap(mark)
    seen = "#map-neighbours .query img"
    desk.wait(lambda: desk.all(seen), "the neighbours")
    assert desk.one(seen).get_attribute("alt") == "Query: sandals, photo sandals/05.png"
    desk.wait(lambda: len(desk.all("svg.points path.near")) == 5, "five neighbours marked on the map")
    desk.picture(pictures / "map.png")
    drawing = desk.one("svg.points")
    drawing.send_keys(Keys.ARROW_RIGHT)
    here = desk.wait(
        lambda: desk.text(".here") if "sandals/05" not in desk.text(".here") else "", "the next mark"
    )
    drawing.send_keys(Keys.ENTER)
    desk.wait(lambda: desk.one(seen).get_attribute("alt") == f"Query: {here}", "its neighbours")
    legend = desk.one('.legend button[data-class="boots"]')
    desk.press(legend)
    assert legend.get_attribute("aria-pressed") == "false"
    assert not desk.one('svg.points g[data-class="boots"]').is_displayed()
    desk.press(legend)


def test_nothing_is_asked_for_elsewhere_and_nothing_complains(desk: Browser, page: PageProcess) -> None:
    asked = desk.requests()
    assert any(address.startswith(f"{page.address}/photo/") for address in asked)
    local = (page.address, "data:", "blob:", "about:", "chrome")
    assert [address for address in asked if not address.startswith(local)] == []
    refused = "/upload - Failed to load resource"  # the two uploads that were to be refused
    assert [line for line in desk.complaints() if refused not in line] == []


def test_a_phone(page: PageProcess, pictures: Path) -> None:
    """390 pixels: no sideways scrolling on any tab, and the answers come into view."""
    with open_browser(width=390, height=844, phone=True) as phone:
        phone.driver.get(page.address)
        phone.wait(lambda: phone.all(ANSWERS), "the first answers")
        assert phone.overflow() <= 0
        button = phone.one("#picker li:nth-child(2) button")
        wanted = button.get_attribute("title")
        phone.press(button)
        phone.wait(lambda: query(phone) == f"Query: {wanted}", "the answers")
        top = "return document.getElementById('results').getBoundingClientRect().top"
        phone.wait(lambda: phone.run(top) < 0.8 * 844, "the answers on the screen")
        phone.picture(pictures / "phone_search.png")
        tab(phone, "Map")
        phone.tap(phone.one('svg.points path[data-number="5"]'))
        phone.wait(lambda: phone.all("#map-neighbours .answers li"), "the neighbours")
        assert phone.overflow() <= 0
        phone.picture(pictures / "phone_map.png")
