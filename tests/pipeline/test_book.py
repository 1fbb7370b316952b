"""The book: built without a run, read in Chromium from the disk, its links followed."""

import base64
import io
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pytest
from browser import open_browser, skip_without_browser
from bs4 import BeautifulSoup
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.pipeline import book

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # Sphinx's, of its extensions

TABLE = "<table class='dataframe'><tr>" + "".join(f"<td>column_{n}</td>" for n in range(40)) + "</tr></table>"
EXERCISES = """# Exercises

## Chance

What is the precision of a guess among eight classes?

```python start
chance = None
```

```python check
with check(chance):
    assert chance == 1 / 8, "one of eight"
```

```python solution
chance = 1 / 8
```

One photo in eight has the query's class.

## By yourself

And among nine?
"""
DOCUMENTS = {
    "README.md": "# The project\n",
    "docs/results.md": "# Results\n\n[claims](../results/sample/claims/claims.md), [code](../src/code.py), "
    "[word](glossary.md), [two](../notebooks/02_two.ipynb), [part](#the-part)\n\n## The part\n\nwallabee\n",
    "docs/glossary.md": "# Glossary\n\n{.glossary}\n**query**\n: A photo to begin with.\n",
    "docs/zebra.md": "# Zebra\n\n```mermaid\nflowchart LR\n    one[first<br>step] --> two\n```\n",
    "results/sample/claims/claims.md": "# Claims\n\n" + "| c " * 9 + "|\n" + "| - " * 9 + "|\n"
    "| [chart](../../../figures/sample/charts/loss_curves.png) " + "| words of a claim " * 8 + "|\n",
    "src/code.py": "answer = 42\n",
}


def picture(width: int = 20) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (10, width, 4), dtype=np.uint8)
    kept = io.BytesIO()
    Image.fromarray(noise).save(kept, "PNG")
    return kept.getvalue()


def write_world(root: Path) -> None:
    """Write a project of two executed notebooks, one of them with a table, a formula, a chart and a link."""
    for name, text in DOCUMENTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "figures/sample/charts").mkdir(parents=True)
    (root / "figures/sample/charts/loss_curves.png").write_bytes(picture())
    (root / "runs/sample/notebooks").mkdir(parents=True)
    (root / "notebooks/exercises").mkdir(parents=True)
    data = {"text/html": TABLE, "text/plain": "wide"}
    drawn = {"image/png": base64.b64encode(picture(1200)).decode(), "text/plain": "chart"}
    served = {"text/html": "<iframe src='http://127.0.0.1:7870'></iframe>", "text/plain": "a page of then"}
    outputs = [nbformat.v4.new_output("display_data", data=one) for one in (data, drawn, served)]
    for name in ("01_one", "02_two"):
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
        words = f"# {name}\n\n| | |\n|---|---|\n| Inputs | photos |\n\n$\\sqrt{{p_i}}$, [two](02_two.ipynb)"
        words += f" and `{'long_' * 20}`"
        code = nbformat.v4.new_code_cell("x = 1  # " + 110 * "long ", outputs=outputs)
        notebook.cells = [nbformat.v4.new_markdown_cell(words), code]
        nbformat.write(notebook, root / f"runs/sample/notebooks/{name}.ipynb")
        (root / f"notebooks/exercises/{name}.md").write_text(EXERCISES)
    (root / "runs/sample/notebooks/02_two.failed.ipynb").write_text("half a noteb")


@pytest.fixture(scope="module")
def site(tmp_path_factory, repository) -> Path:
    """The folder of a small book."""
    root = tmp_path_factory.mktemp("book")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(repository / name, root / name)
    write_world(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        return book.build("sample").parent


@pytest.fixture
def world(site, monkeypatch) -> Path:
    """The project of that book."""
    monkeypatch.setenv("SOLESEARCH_ROOT", str(site.parents[2]))
    return site.parents[2]


@pytest.fixture(scope="module")
def phone(site):
    skip_without_browser()
    with open_browser(width=390, height=844, phone=True) as browser:
        yield browser


def pages(site: Path) -> dict[Path, BeautifulSoup]:
    found = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)  # templates
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in found}


def broken_links(site: Path) -> list[str]:
    """Links and anchors of a site that lead nowhere on this disk."""
    read = pages(site)
    anchors = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in read.items()}
    broken = []
    for path, page in read.items():
        for address in [tag[name] for name in ("href", "src") for tag in page.find_all(attrs={name: True})]:
            parts = urlsplit(address)
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            wanted = parts.fragment and anchors.get(target, {parts.fragment})
            if not parts.scheme and not (target.exists() and (not wanted or parts.fragment in wanted)):
                broken.append(f"{path.relative_to(site)}: {address}")
    return broken


def outside(site: Path) -> list[str]:
    """What the pages of a site would load from elsewhere; links that a reader may follow are none of it."""
    loading = [
        str(tag)
        for page in pages(site).values()
        for tag in page.find_all(["script", "link", "img", "iframe", "source"])
        if re.match(r"(https?:)?//", tag.get("src") or tag.get("href") or "")
    ]
    styles = [path.read_text() for path in site.rglob("*.css")]
    return loading + [
        url for style in styles for url in re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//\S+", style)
    ]


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert len(pages(site)) > 8
    assert broken_links(site) == [] and outside(site) == []


def test_links_lead_to_pages_charts_and_the_repository(site, world):
    read = pages(site)
    results = {tag.text: tag["href"] for tag in read[site / "docs/results.html"].article.find_all("a")}
    assert results["claims"] == "../results/sample/claims/claims.html"
    assert results["two"] == "../notebooks/02_two.html" and results["word"] == "glossary.html"
    assert (site / "docs" / results["code"]).resolve() == world / "src/code.py"
    claims = read[site / "results/sample/claims/claims.html"].find("a", string="chart")
    assert claims["href"] == "../../../figures/sample/charts/charts.html#loss-curves"
    made = book.build("sample", "https://host.example/tree/v1")
    assert (
        'href="https://host.example/tree/v1/src/code.py"' in (made.parent / "docs/results.html").read_text()
    )
    book.build("sample")


def test_a_notebook_is_shown_as_it_was_run_and_ends_with_folded_solutions(site):
    page = pages(site)[site / "notebooks/01_one.html"]
    assert page.article.find("math").find("msqrt") and page.article.find("table", class_="dataframe")
    assert (
        page.article.find("img", alt=True)
        and "Chance" in page.article.text
        and "And among nine?" in page.text
    )
    folded = page.article.find_all("details", open=False)
    assert [one.summary.text for one in folded] == ["Check", "Solution"]
    assert "chance = 1 / 8" in folded[1].text and "One photo in eight" in folded[1].text
    assert "one of eight" in folded[0].text and "a page of then" in page.article.text


def test_pages_stand_in_the_order_of_contents_and_others_last(site, world, capsys):
    book.build("sample")
    said = capsys.readouterr().out
    assert said == "docs/zebra: not in CONTENTS of pipeline/book.py, so last in the book\n"
    listed = [link["href"] for link in pages(site)[site / "index.html"].article.select(".toctree-wrapper a")]
    assert listed == [
        "notebooks/01_one.html", "notebooks/02_two.html", "docs/results.html",
        "results/sample/claims/claims.html", "figures/sample/charts/charts.html", "docs/glossary.html",
        "docs/zebra.html",
    ]  # fmt: skip
    svg = next((site / "_images").glob("zebra-*.svg")).read_text()
    assert "first" in svg and "step" in svg and "br" not in re.sub(r"<[^>]*>", "", svg)


def turn_to(browser, page: Path, query: str = "") -> None:
    """Open a page and wait for it: `get` may return while the last one's scripts still run."""
    browser.driver.get(page.as_uri() + query)
    there = "return document.readyState === 'complete' && location.href.startsWith(arguments[0])"
    browser.wait(lambda: browser.run(there, page.as_uri()), page.name)


def test_it_reads_from_the_disk_on_a_phone(site, phone):
    phone.requests()
    for path in pages(site):
        turn_to(phone, path)
        assert phone.overflow() <= 0, path
    assert {urlsplit(address).scheme for address in phone.requests()} <= {"file", "data"}
    assert phone.complaints() == []


def test_search_works_from_the_disk(site, phone):
    turn_to(phone, site / "search.html", "?q=wallabee")
    found = phone.wait(lambda: phone.all("#search-results li a"), "a page found")
    assert [link.get_attribute("href") for link in found] == [(site / "docs/results.html").as_uri()]
    turn_to(phone, site / "search.html", "?q=query")
    phone.wait(lambda: "glossary" in phone.text("#search-results").lower(), "the glossary's term")
    assert phone.complaints() == []


# the lowest contrast of text with what lies behind it, by WCAG's formula
CONTRAST = """
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
  .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const found = numbers(getComputedStyle(at).backgroundColor);
    if (found.length < 4 || found[3] > 0.9) return found;
  }
  return [255, 255, 255];
};
const texts = [...document.querySelectorAll('article *')].filter((element) =>
  [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && element.checkVisibility()
  && !element.matches('.headerlink'));
return texts.map((element) => {
  const pair = [numbers(getComputedStyle(element).color), behind(element)].map(light).sort((a, b) => a - b);
  return [(pair[1] + 0.05) / (pair[0] + 0.05), element.outerHTML.slice(0, 80)];
}).sort((a, b) => a[0] - b[0])[0];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_by_day_and_in_a_dark_room(site, phone, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    phone.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    for name in ("index", "notebooks/01_one", "results/sample/claims/claims", "docs/glossary"):
        turn_to(phone, site / f"{name}.html")
        background = phone.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
        contrast, where = phone.run(CONTRAST)
        assert contrast >= 4.5, where


def test_a_failed_build_says_where_and_leaves_the_last_book(site, world):
    before, page = (site / "docs/results.html").read_bytes(), world / "docs/results.md"
    page.write_text("# Results\n\n[gone](nowhere.md), [no part](glossary.md#nowhere), [outside](../../x)\n")
    try:
        with pytest.raises(InputError, match="the book was not replaced") as caught:
            book.build("sample")
    finally:
        page.write_text(DOCUMENTS["docs/results.md"])
    for target in ("'nowhere.md'", "'nowhere'", "'../../x'"):
        assert re.search(rf"^docs/results.md:3: WARNING: .*{target}", str(caught.value), re.MULTILINE)
    assert (site / "docs/results.html").read_bytes() == before
    assert sorted(path.name for path in site.parent.iterdir()) == ["book", "notebooks"]


def test_what_cannot_be_built_is_told_in_one_line(world, monkeypatch, capsys):
    with pytest.raises(
        InputError, match=r"paper/notebooks: no executed notebook; run `make repro PROFILE=paper`"
    ):
        book.build("paper")
    monkeypatch.setattr("sys.argv", ["book", "papre"])
    assert book.main() == 1
    assert "no section for profile 'papre'" in capsys.readouterr().err


def test_a_notebook_that_was_not_run_is_named(world, capsys):
    (world / "notebooks/03_three.ipynb").write_text("{}")
    try:
        book.build("sample")
        assert "not run yet, so not in the book: 03_three\n" in capsys.readouterr().out
        with pytest.raises(InputError, match="sample: 03_three not run yet"):
            book.release("sample")
    finally:
        (world / "notebooks/03_three.ipynb").unlink()


def test_a_release_keeps_outputs_in_smaller_pictures(world, monkeypatch):
    written = book.release("sample")
    assert [path.name for path in written] == ["01_one.ipynb", "02_two.ipynb"]
    once = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in book.release("sample")] == once
    table, chart, _ = nbformat.read(written[0], as_version=4).cells[1].outputs
    assert table.data["text/html"] == TABLE
    image = Image.open(io.BytesIO(base64.b64decode(chart.data["image/png"])))
    assert image.width == book.MOST_PIXELS and image.mode == "P"
    monkeypatch.setattr(book, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="above 1,000"):
        book.release("sample")
    with pytest.raises(InputError, match="paper: its notebooks show photographs, not ours"):
        book.release("paper")
    run = Paths.of("sample").notebooks
    run.rename(run.with_name("away"))
    try:
        assert book.executed_notebooks("sample") == written
    finally:
        run.with_name("away").rename(run)


def test_the_repositorys_own_book_has_no_broken_link(tmp_path, repository, monkeypatch):
    for entry in repository.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.setenv("SOLESEARCH_ROOT", str(tmp_path))
    site = book.build("sample").parent
    assert len(list(site.glob("notebooks/*.html"))) == 14
    assert broken_links(site) == [] and outside(site) == []
