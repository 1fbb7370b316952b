"""The page in a real Chromium: search by click and by upload, the map, the keyboard, a phone.

Screenshots land in runs/screenshots/, so that a person can look at them. Where no browser is, the tests are
skipped with a line that says so.
"""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import Browser, open_browser, skip_without_browser
from page_world import draw_photo, png, served_showcase

from solesearch.page.page_process import PageProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PICTURES = Path(__file__).resolve().parents[2] / "runs" / "screenshots"
ANSWERS = "#results .answers li"
DARK_AND_LIGHT = {  # ink and ground
    "dark": ["rgb(236, 236, 236)", "rgb(22, 24, 28)"],
    "light": ["rgb(26, 26, 26)", "rgb(255, 255, 255)"],
}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page(repository: Path, tmp_path_factory: pytest.TempPathFactory):
    skip_without_browser()
    with served_showcase(repository, tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def desk(page: PageProcess):
    """A browser on a desk, with the page open; the tests below use it one after another."""
    with open_browser(width=1280, height=900) as browser:
        browser.driver.get(page.address)
        browser.wait(lambda: browser.all(ANSWERS), "the first answers")
        yield browser


def tab(browser: Browser, title: str) -> None:
    button = next(button for button in browser.all("[role=tab]") if button.text == title)
    browser.press(button)
    assert button.get_attribute("aria-selected") == "true"


def query(browser: Browser) -> str:
    return browser.one("#results .query img").get_attribute("alt")


def test_search_by_click(desk: Browser) -> None:
    button = desk.one("#picker li:nth-child(3) button")
    pressed = button.get_attribute("title")
    desk.press(button)
    desk.wait(lambda: query(desk) == f"Query: {pressed}", "the answers to the pressed photo")
    first = desk.one(f"{ANSWERS} button").get_attribute("title")
    assert first != pressed
    desk.press(desk.one(f"{ANSWERS} button"))  # on from an answer; the keyboard's place goes along
    desk.wait(lambda: query(desk) == f"Query: {first}", "the answers to an answer")
    focus = "return document.activeElement.className"
    desk.wait(lambda: desk.run(focus) == "query", "the focus on the query")
    desk.picture(PICTURES / "search.png")


def test_choices_ask_again_and_the_same_class_is_marked(desk: Browser) -> None:
    shown, before = query(desk), len(desk.all("#results .model"))
    desk.press(desk.one("input[value=mean_colour]"))
    desk.wait(lambda: len(desk.all("#results .model")) == before + 1, "one more model")
    assert query(desk) == shown and "✓ same class" in desk.text("#results li.same")
    assert "✓" not in desk.text("#results li.other")
    frame = "return getComputedStyle(document.querySelector('#results li.same button')).borderColor"
    assert desk.run(frame) == "rgb(21, 128, 61)"
    desk.run("""
        const k = document.querySelector("[name=k]");
        k.value = 3;
        for (const kind of ["input", "change"]) k.dispatchEvent(new Event(kind, { bubbles: true }));""")
    desk.wait(lambda: len(desk.all(ANSWERS)) == 3 * (before + 1), "three answers a model")
    assert desk.text("output") == "3"


def test_search_by_id_and_at_random(desk: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    field = desk.one("#photo-id")
    field.send_keys("sandals/11.png", Keys.ENTER)
    desk.wait(lambda: "sandals/11.png" in query(desk), "the photo of the id")
    field.clear()
    field.send_keys("nowhere.png", Keys.ENTER)
    desk.wait(lambda: "no photo of that id" in desk.text("#results [role=alert]"), "that the id is unknown")
    desk.press(desk.one("#random"))
    desk.wait(lambda: desk.all("#results .query"), "a random photo's answers")
    desk.press(desk.one("#class option:nth-child(3)"))
    desk.wait(
        lambda: (
            "boots" not in desk.text("#picker")
            and "heels" in desk.one("#picker button").get_attribute("title")
        ),
        "heels",
    )


def test_upload(desk: Browser, tmp_path: Path) -> None:
    photo, broken, large = (tmp_path / name for name in ("mine.png", "broken.jpg", "large.png"))
    photo.write_bytes(png(draw_photo("heels", 22)))
    broken.write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    large.write_bytes(bytes(10_000_001))
    desk.one("#upload").send_keys(str(photo))
    desk.wait(lambda: query(desk) == "Query: the photo you uploaded", "the answers to an upload")
    assert "heels/22.png" in desk.one(f"{ANSWERS} button").get_attribute("title")
    assert "distance 0" in desk.one(f"{ANSWERS} .facts").text
    desk.picture(PICTURES / "upload.png")
    desk.one("#upload").send_keys(str(broken))
    desk.wait(lambda: "no photo that can be read" in desk.text("#results [role=alert]"), "the refusal")
    desk.picture(PICTURES / "upload_refused.png")
    desk.one("#upload").send_keys(str(large))
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
    assert desk.run("return [...document.images].filter((image) => !image.alt).length") == 0
    nameless = desk.run("""
        return [...document.querySelectorAll("input, select, button, iframe")]
          .filter((field) => !field.labels?.length && !field.ariaLabel && !field.title)
          .filter((field) => !field.textContent.trim())
          .map((field) => field.outerHTML.slice(0, 200));""")
    assert nameless == []
    assert desk.run("return document.documentElement.lang") == "en"


def test_map(desk: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    tab(desk, "Map")
    desk.tap(desk.one('svg.points path[data-photo="sandals/05.png"]'))
    seen = "#map-neighbours .query img"
    desk.wait(lambda: desk.all(seen), "the neighbours")
    assert desk.one(seen).get_attribute("alt") == "Query: sandals, photo sandals/05.png"
    desk.wait(lambda: len(desk.all("svg.points path.near")) == 5, "five neighbours marked on the map")
    desk.picture(PICTURES / "map.png")
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
    tab(desk, "Annotate")
    desk.driver.switch_to.frame(desk.one("#annotate iframe"))
    desk.wait(lambda: "Which rows are most similar" in desk.text("h1"), "the study")
    desk.driver.switch_to.default_content()
    tab(desk, "Search")
    assert desk.all(ANSWERS)  # still there


def test_a_slow_answer_does_not_bring_an_old_query_back(desk: Browser) -> None:
    """A photo is pressed, and k changed before its answer comes: what is asked anew is the pressed photo."""
    desk.run("""
        const old = document.querySelector("#results .query").dataset.value;
        const buttons = [...document.querySelectorAll("#picker button.photo")];
        window.pressed = buttons.find((button) => button.dataset.photo !== old);
        const ask = window.fetch, slow = (done) => setTimeout(done, 300);
        window.fetch = async (address) => { await new Promise(slow); return ask(address); };
        window.pressed.click();
        const k = document.querySelector("[name=k]");
        k.value = 2;
        for (const kind of ["input", "change"]) k.dispatchEvent(new Event(kind, { bubbles: true }));
        window.fetch = ask;""")
    models = len(desk.all("input[name=model]:checked"))
    desk.wait(lambda: len(desk.all(ANSWERS)) == 2 * models, "two answers a model")
    assert query(desk) == f"Query: {desk.run('return window.pressed.title')}"


def test_nothing_is_asked_for_elsewhere_and_nothing_complains(desk: Browser, page: PageProcess) -> None:
    asked = desk.requests()
    assert any(address.startswith(f"{page.address}/photo/") for address in asked)
    local = (page.address, "data:", "blob:", "about:", "chrome")
    assert [address for address in asked if not address.startswith(local)] == []
    refused = (
        "/upload - Failed to load resource",
        "status of 422",
        "status of 404",
    )  # as the tests above ask for
    assert [line for line in desk.complaints() if not any(words in line for words in refused)] == []


def test_the_page_shows_inside_a_notebook(desk: Browser, page: PageProcess, tmp_path: Path) -> None:
    """Jupyter serves from another port of this machine, under one name or the other."""
    (tmp_path / "notebook.html").write_text(page._repr_html_())
    handler = partial(QuietHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as jupyter:
        threading.Thread(target=jupyter.serve_forever, daemon=True).start()
        for name in ("127.0.0.1", "localhost"):
            desk.driver.get(f"http://{name}:{jupyter.server_port}/notebook.html")
            desk.driver.switch_to.frame(desk.one("iframe"))
            desk.wait(lambda: desk.all(ANSWERS), "the answers inside the notebook's frame")
            tab(desk, "Annotate")
            desk.driver.switch_to.frame(desk.one("#annotate iframe"))
            desk.wait(lambda: "Which rows are most similar" in desk.text("h1"), "the study in it")
        jupyter.shutdown()


def test_a_phone(page: PageProcess) -> None:
    """390 pixels: no sideways scrolling on any tab, and the answers come into view."""
    with open_browser(width=390, height=844, phone=True) as phone:
        phone.driver.get(page.address)
        for look, colours in DARK_AND_LIGHT.items():
            media = [{"name": "prefers-color-scheme", "value": look}]
            phone.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
            shown = "const look = getComputedStyle(document.body); return [look.color, look.backgroundColor]"
            assert phone.run(shown) == colours
        phone.wait(lambda: phone.all(ANSWERS), "the first answers")
        assert phone.overflow() <= 0
        button = phone.one("#picker li:nth-child(2) button")
        pressed = button.get_attribute("title")
        phone.press(button)
        phone.wait(lambda: query(phone) == f"Query: {pressed}", "the answers")
        top = "return document.getElementById('results').getBoundingClientRect().top"
        phone.wait(lambda: phone.run(top) < 0.8 * 844, "the answers on the screen")
        phone.picture(PICTURES / "phone_search.png")
        tab(phone, "Map")
        phone.tap(phone.one('svg.points path[data-photo="sandals/05.png"]'))
        phone.wait(lambda: phone.all("#map-neighbours .answers li"), "the neighbours")
        assert phone.overflow() <= 0
        phone.picture(PICTURES / "phone_map.png")
