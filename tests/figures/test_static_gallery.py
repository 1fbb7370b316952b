"""The page that opens offline: parsed, measured, and clicked in a real browser where there is one."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import open_browser, skip_without_browser
from markupsafe import escape
from matplotlib.colors import to_rgb
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.figures import static_gallery
from solesearch.figures.galleries import GalleryRow, Neighbour
from solesearch.figures.static_gallery import gallery_page

ODD = '<script>"&'
VOID = {"meta", "img", "input", "br"}


def photo(shade: int, *, height: int = 20, width: int = 30) -> np.ndarray:
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[:, : width // 2] = shade
    return pixels


def answers() -> dict[str, list[GalleryRow]]:
    """Three queries of two classes, answered by two models with two photos each, out of five photos."""
    shelf = {"a.jpg": "boots", "b.jpg": "boots", "c.jpg": ODD, f"d{ODD}.jpg": ODD, "e.jpg": "boots"}
    shades = {name: 40 * number for number, name in enumerate(shelf)}

    def row(model: str, query: str, found: list[str]) -> GalleryRow:
        near = [Neighbour(photo(shades[one]), shelf[one], 0.5 * n, one) for n, one in enumerate(found, 1)]
        return GalleryRow(model, photo(shades[query]), shelf[query], near)

    plan = {
        "a.jpg": (["b.jpg", "c.jpg"], ["b.jpg", "e.jpg"]),
        "c.jpg": (["a.jpg", "b.jpg"], [f"d{ODD}.jpg", "a.jpg"]),
        "e.jpg": (["c.jpg", "b.jpg"], ["c.jpg", "a.jpg"]),
    }
    return {
        query: [row("infogan", query, first), row("hog", query, second)]
        for query, (first, second) in plan.items()
    }


class Page(HTMLParser):
    """Elements in order as (tag, attributes, text); raises where tags do not nest."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.found) - 1)

    def handle_data(self, data: str) -> None:
        for number in self.open:
            self.found[number][2].append(data)

    def handle_endtag(self, tag: str) -> None:
        assert self.found[self.open.pop()][0] == tag

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.found if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return gallery_page(answers(), profile="sample", searched=1234)


def assert_asks_for_nothing(text: str) -> None:
    """No address, no script, no element that loads; every source and every url() is data."""
    assert not re.search(r"https?://|//\w|@import|javascript:", re.sub(r"base64,[\w+/=]+", "", text))
    assert set(re.findall(r"url\((.{5})", text)) == {"data:"}
    page = Page(text)
    assert not {tag for tag, *_ in page.found} & {"script", "link", "iframe", "object", "video", "base"}
    for _, attributes, _ in page.found:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    assert "default-src 'none'" in text


def assert_filters_fit(text: str, classes: list[str]) -> None:
    """The filter of classes offers the given ones, each with queries and a rule; the models' likewise."""
    page = Page(text)
    radios = [attributes["id"] for attributes, _ in page.all("input") if attributes["type"] == "radio"]
    boxes = [attributes["id"] for attributes, _ in page.all("input") if attributes["type"] == "checkbox"]
    labels = [words.strip() for _, words in page.all("label")]
    sections = [attributes["class"] for attributes, _ in page.all("section")]
    counts = [sum(f"class-{n}" in one.split() for one in sections) for n in range(len(classes))]
    offered = [f"{name} ({count})" for name, count in zip(classes, counts, strict=True)]
    assert labels[: len(radios)] == [f"all ({len(sections)})", *offered]
    assert radios == ["class-all", *(f"class-{n}" for n in range(len(classes)))]
    assert all(counts) and sum(counts) == len(sections)
    kinds = [(attributes.get("class") or "").split() for attributes, _ in page.all("div")]
    rows = [kind[1] for kind in kinds if "model" in kind]
    assert rows == boxes * len(sections)
    for name in radios[1:]:
        assert f"body:has(#{name}:checked) .query:not(.{name})" in text
    for name in boxes:
        assert f"body:has(#{name}:not(:checked)) .{name}" in text


def test_page_asks_for_nothing_and_escapes_names(text: str) -> None:
    assert_asks_for_nothing(text)
    assert ODD not in text and str(escape(ODD)) in text


def test_every_image_has_an_alternative_text_and_a_photo(text: str) -> None:
    images = Page(text).all("img")
    assert len(images) == 3 * (1 + 2 * 2)
    for attributes, _ in images:
        assert re.fullmatch(r"photo .+, class .+", attributes["alt"])
        assert f".{attributes['class']}{{background-image:url(data:image/jpeg" in text
    assert any(attributes["alt"] == f"photo d{ODD}.jpg, class {ODD}" for attributes, _ in images)


def test_each_photo_is_inside_once_and_looks_as_it_should(text: str) -> None:
    inside = dict(re.findall(r"\.(p\d+)\{background-image:url\(data:image/jpeg;base64,([\w+/=]+)\)\}", text))
    assert len(inside) == text.count("image/jpeg") == 5
    named = {attributes["alt"]: attributes["class"] for attributes, _ in Page(text).all("img")}
    for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        [painted] = [found for alt, found in named.items() if alt.startswith(f"photo {name}")]
        with Image.open(io.BytesIO(base64.b64decode(inside[painted]))) as image:
            pixels = np.asarray(image).astype(int)
        assert np.abs(pixels[:, :10] - 40 * number).max() < 12


def test_filters_name_the_classes_and_models_that_are_there(text: str) -> None:
    assert_filters_fit(text, [ODD, "boots"])
    assert [words for _, words in Page(text).all("label")][-2:] == ["InfoGAN (proposed)", "HOG"]


def test_rows_say_distance_class_and_hits_in_words_and_signs(text: str) -> None:
    page = Page(text)
    queries = [words for _, words in page.all("h2")]
    assert queries == [f"Query 1: {ODD}", "Query 2: boots", "Query 3: boots"]
    items = [(attributes["class"], words) for attributes, words in page.all("li")]
    # query 2 is a.jpg: the proposed model finds b.jpg (boots) and c.jpg (not), HOG two boots
    assert items[4:6] == [("same", "✓ 0.500boots"), ("other", f"✗ 1.00{ODD}")]
    assert items[6:8] == [("same", "✓ 0.500boots"), ("same", "✓ 1.00boots")]
    names = [words for _, words in page.all("h3")]
    assert names[2:4] == ["InfoGAN (proposed)1 of 2 of the class", "HOG2 of 2 of the class"]
    assert "nearest of\n1,234 test photos" in text


def test_the_same_rows_give_the_same_bytes(text: str) -> None:
    assert gallery_page(answers(), profile="sample", searched=1234) == text
    assert "5 photos, each inside this page once" in text


def test_pages_of_photographs_say_whose_they_are(text: str) -> None:
    real = gallery_page(answers(), profile="paper", searched=9)
    assert "belong to others" in real and "drawn by code" not in real
    assert "drawn by code" in text and "belong to others" not in text


def test_faults_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"gallery.html: no queries"):
        gallery_page({}, profile="sample", searched=9)
    monkeypatch.setattr(static_gallery, "MOST_BYTES", 3000)
    with pytest.raises(
        InputError, match=r"gallery.html would have .* lower gallery.page_queries or gallery.k"
    ):
        gallery_page(answers(), profile="sample", searched=9)


def contrast_with_white(colour: str) -> float:
    """The contrast of a text, as WCAG 2 defines it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05)


def test_text_stands_out_from_the_white_page(text: str) -> None:
    assert contrast_with_white("#767676") == pytest.approx(4.54, abs=0.01)  # WCAG's own example
    colours = dict(re.findall(r"--(\w+): (#\w{6})", text))
    assert {"ink", "quiet", "same", "other", "link"} <= set(colours)
    for name, colour in colours.items():
        assert contrast_with_white(colour) >= (3 if name == "line" else 4.5), name


def test_committed_page_is_whole_and_small(repository: Path) -> None:
    text = (repository / "figures/sample/galleries/gallery.html").read_text(encoding="utf-8")
    assert len(text.encode()) < static_gallery.MOST_BYTES
    assert_asks_for_nothing(text)
    classes = pd.read_csv(Paths("sample", repository).result("catalogue"))["label"]
    assert_filters_fit(text, sorted(set(classes)))


@pytest.mark.slow
def test_filters_and_width_in_a_browser(tmp_path: Path) -> None:
    skip_without_browser()
    wide = {
        query: [replace(row, neighbours=row.neighbours * 3) for row in rows]
        for query, rows in answers().items()
    }
    page = gallery_page(wide, profile="sample", searched=9)
    (tmp_path / "gallery.html").write_text(page, encoding="utf-8")
    with open_browser(width=390, height=900, phone=True) as browser:
        browser.driver.get((tmp_path / "gallery.html").as_uri())

        def seen(*kinds: str) -> list[int]:
            return [sum(one.is_displayed() for one in browser.all(kind)) for kind in kinds]

        assert seen(".query", ".model", ".old") == [3, 6, 0]
        assert browser.overflow() <= 0  # nothing to scroll sideways
        for pressed, queries, rows in (("class-1", 2, 4), ("model-1", 2, 2), ("class-all", 3, 3)):
            browser.press(browser.one(f"#{pressed}"))
            assert seen(".query", ".model") == [queries, rows], pressed
        assert {address.partition(":")[0] for address in browser.requests()} <= {"file", "data"}
