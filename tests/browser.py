"""A real Chromium for the tests: Debian's, without a window, and with a record of what it asked for."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("chromium", "chromedriver")
ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
)
PATIENCE_S = 40


def skip_without_browser() -> None:
    """Skip a test, and say why, where no browser is installed."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(
            f"no browser: {', '.join(missing)} not found (Debian: apt install chromium chromium-driver)"
        )


@contextmanager
def open_browser(*, width: int, height: int, phone: bool = False) -> Iterator["Browser"]:
    """Open a browser of a size in pixels and close it again."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (*ARGUMENTS, f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone},
        )
        yield Browser(driver, width)
    finally:
        driver.quit()


class Browser:
    """What the tests do with a page: wait, press, look, and ask what went over the wire."""

    def __init__(self, driver: Any, width: int):
        self.driver, self.width = driver, width

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.wait(lambda: next(iter(self.all(selector)), None), selector)

    def wait(self, holds: Callable[[], Any], what: str) -> Any:
        """Return what `holds` gives once it is true; fails with `what` after PATIENCE_S."""
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.wait import WebDriverWait

        wait = WebDriverWait(
            self.driver, PATIENCE_S, poll_frequency=0.1, ignored_exceptions=[StaleElementReferenceException]
        )
        try:
            return wait.until(lambda _: holds())
        except TimeoutException:
            pytest.fail(f"never seen: {what}; the page shows: {self.text('body')[-800:]}")

    def text(self, selector: str) -> str:
        """Return the text of all that fits, rendered or not."""
        return " ".join(one.get_attribute("textContent") for one in self.all(selector))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def press(self, element: Any) -> None:
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def tap(self, element: Any) -> None:
        """Press where an element is, whatever lies on top: a mark of a few pixels may be missed."""
        from selenium.webdriver.common.action_chains import ActionChains

        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver).move_to_element(element).click().perform()

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the screen (innerWidth may grow with it)."""
        return self.run("return document.documentElement.scrollWidth") - self.width

    def picture(self, path: Path) -> None:
        """Keep a screenshot of the whole page, at most 3,000 pixels high."""
        path.parent.mkdir(parents=True, exist_ok=True)
        height = min(self.run("return document.documentElement.scrollHeight"), 3000)
        clip = {"x": 0, "y": 0, "width": self.width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def requests(self) -> set[str]:
        """Return every address that was asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return {one["request"]["url"] for one in sent}

    def complaints(self) -> list[str]:
        """Return what the browser's console holds against the page."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
