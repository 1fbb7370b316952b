"""A static site to read without running anything: a profile's executed notebooks, docs/, the claim reports.

Sphinx builds it from a folder laid out as the repository is, so a relative link means the same in both. It
executes nothing, and the site asks for nothing from elsewhere: formulas become MathML, styles and the search
lie in it. A link to a file that is no page leads to the repository, by default the one the site lies in.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import check_known
from solesearch.pipeline.exercises import read_exercises

# Caption -> pages in reading order, as paths without suffix or with a pattern; what lies in docs/ beside them
# comes last, and the build says so.
CONTENTS = {
    "Where to start": ("docs/student", "docs/reviewer", "docs/author"),
    "The papers, step by step": ("notebooks/0*",),
    "Beyond the papers": ("notebooks/1*",),
    "Results": ("docs/results", "docs/beyond", "docs/claims", "docs/contradictions"),
    "The claims, one by one": ("results/{profile}/claims/claims", "results/*/claims/claims"),
    "Charts": ("figures/{profile}/charts/charts", "figures/*/charts/charts"),
    "Using it": ("docs/data", "docs/page", "docs/human_study", "docs/adding_photos"),
    "Running it": ("docs/pipeline", "docs/reproducibility", "docs/full_size", "docs/gpu"),
    "To look up": ("docs/glossary", "docs/references"),
}
LEFT_OVER = "More"
RELEASED = Path("docs/executed")  # the sample's executed notebooks of a release, small enough for Git
MOST_BYTES = 4_000_000  # of them all
MOST_PIXELS = 900  # the width of a picture in them

INDEX = """\
# solesearch

Two papers on finding shoes that look alike with an InfoGAN, reproduced from photos to figures. Each notebook
here asks one question and shows what its code answered when it was run on profile `{profile}`. The
[glossary](docs/glossary.md) explains the words; the [README](README.md) says how to run it yourself.
"""
TREE = """\

```{{toctree}}
:caption: {caption}
:maxdepth: 1

{pages}
```
"""
EXERCISE = """\
### {number}. {title}

{question}

```python
{start}
```

<details><summary>Check</summary>

```python
{check}
```

</details>
<details><summary>Solution</summary>

```python
{solution}
```

{answer}

</details>
"""
SETTINGS: dict[str, Any] = {
    "project": "solesearch",
    "extensions": ["myst_nb", "solesearch.pipeline.book"],
    "myst_enable_extensions": ["dollarmath", "attrs_block", "deflist"],
    "myst_heading_anchors": 4,
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "nb_render_image_options": {"alt": "what the cell above drew"},
    "nitpicky": True,
    "html_theme": "sphinx_book_theme",
    "html_title": "solesearch",
    "html_static_path": [str(Path(__file__).with_suffix(".css"))],
    "html_css_files": ["book.css"],
    "html_math_renderer": "mathml",
    "html_show_search_summary": False,  # it would read pages, which browsers refuse from the disk
    "html_show_sphinx": False,
    "html_show_copyright": False,
    "html_context": {"default_mode": "auto"},  # as light or dark as the reader's device
    "html_theme_options": {
        **{"use_fullscreen_button": False, "show_toc_level": 2, "footer_content_items": []},
        **{f"navbar_{place}": [] for place in ("start", "center", "end", "persistent")},
    },
}


# --- the sources, laid out as the repository is -------------------------------------------------------------


def executed_notebooks(profile: str) -> list[Path]:
    """Return a profile's executed notebooks, of its run or else of the release; InputError without any."""
    paths = Paths.of(profile)
    for folder in (paths.notebooks, *([paths.root / RELEASED] if profile == "sample" else [])):
        found = [path for path in sorted(folder.glob("*.ipynb")) if not path.stem.endswith(".failed")]
        if found:
            return found
    raise InputError(f"{paths.notebooks}: no executed notebook; run `make repro PROFILE={profile}` first")


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return all outputs of a notebook's cells."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def not_run(executed: list[Path]) -> str:
    """Return the names of the notebooks that are not among the executed ones, "" where none is missing."""
    known = {path.stem for path in (repository_root() / "notebooks").glob("*.ipynb")}
    return ", ".join(sorted(known - {path.stem for path in executed}))


def gather(profile: str, stage: Path) -> None:
    """Lay the sources of a book into the folder `stage`."""
    root, executed = repository_root(), executed_notebooks(profile)
    if missing := not_run(executed):
        print(f"not run yet, so not in the book: {missing}")
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
        for output in outputs(notebook):
            if "<iframe" in output.get("data", {}).get("text/html", ""):  # of a server that is gone
                del output.data["text/html"]
        # before the last cell, the line that leads to the next notebook
        notebook.cells.insert(-1, nbformat.v4.new_markdown_cell(exercises(path.stem)))
        files.write_text(stage / "notebooks" / path.name, nbformat.writes(notebook))
    for page in (*root.glob("docs/*.md"), *root.glob("results/*/claims/claims.md")):
        target = stage / page.relative_to(root)
        files.write_text(target, drawn(page.read_text(encoding="utf-8"), target))
    for charts in root.glob("figures/*/charts"):
        page = f"# Charts: profile {charts.parent.name}\n\nEach redrawn by `make figures`, as PNG and PDF.\n"
        for chart in sorted(charts.glob("*.png")):
            title = chart.stem.replace("_", " ").capitalize()
            page += f"\n## {title}\n\n![{title}]({chart.name})\n"
        files.write_text(stage / charts.relative_to(root) / "charts.md", page)
    left_out = shutil.ignore_patterns("all", "*.pdf")
    shutil.copytree(root / "figures", stage / "figures", dirs_exist_ok=True, ignore=left_out)
    files.write_text(stage / "index.md", index(profile, stage))


def drawn(text: str, page: Path) -> str:
    """Return Markdown with its Mermaid diagrams as SVG files beside `page`."""
    from merm import render_diagram

    def draw(found: re.Match[str]) -> str:
        picture = page.with_name(f"{page.stem}-{found.start()}.svg")
        files.write_text(picture, render_diagram(found[1].replace("<br>", "<br/>")))
        return f"![diagram]({picture.name})"

    return re.sub(r"(?ms)^```mermaid\n(.*?)^```$", draw, text)


def index(profile: str, stage: Path) -> str:
    """Return the first page, with the table of contents: CONTENTS, then what docs/ holds beside it."""
    found = [path.relative_to(stage) for path in stage.rglob("*") if path.suffix in (".md", ".ipynb")]
    left, trees = {str(path.with_suffix("")) for path in found}, {}
    for caption, patterns in CONTENTS.items():
        trees[caption] = []
        for pattern in patterns:
            pages = sorted(page for page in left if Path(page).match(pattern.format(profile=profile)))
            trees[caption] += pages
            left -= set(pages)
    if left:
        print(f"{', '.join(sorted(left))}: not in CONTENTS of pipeline/book.py, so last in the book")
    trees[LEFT_OVER] = sorted(left)
    text = [TREE.format(caption=caption, pages="\n".join(pages)) for caption, pages in trees.items() if pages]
    return INDEX.format(profile=profile) + "".join(text)


def exercises(name: str) -> str:
    """Return a notebook's exercises as Markdown, each solution folded away."""
    parts = ["## Exercises"]
    for number, one in enumerate(read_exercises(name), start=1):
        asked = f"**{one.title}.** {one.question}"  # an open question, which has no solution to show
        parts.append(EXERCISE.format(number=number, **one._asdict()) if one.solution else asked)
    return "\n\n".join(parts)


# --- Sphinx -------------------------------------------------------------------------------------------------


def build(profile: str, source: str = "") -> Path:
    """Write the site to runs/<profile>/book and return its first page; a failed build leaves the last one.

    `source`: the address that links to files of the repository begin with; "": its folder on this disk.
    Raises InputError for an unknown profile, one without executed notebooks, and for broken links.
    """
    check_known([profile])
    book = Paths.of(profile).run / "book"
    with replacing_folder(book) as made:
        gather(profile, made / "stage")
        here = {"book_root": str(repository_root()), "book_source": source, "book_at": str(book)}
        run_sphinx(made / "stage", made / "html", SETTINGS | here)
    return book / "index.html"


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`; what lies in its html/ takes `folder`'s place in the end."""
    made = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(made, ignore_errors=True)  # left by a build that was killed
    try:
        made.mkdir(parents=True)
        yield made
        if folder.exists():
            folder.rename(made / "old")
        (made / "html").rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def run_sphinx(stage: Path, html: Path, settings: dict[str, Any]) -> None:
    """Build the folder `stage` into `html`; raises InputError with all that Sphinx warns of."""
    from sphinx.application import Sphinx
    from sphinx.util.console import nocolor
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    nocolor()
    said, folders = io.StringIO(), (stage, None, html, html.with_name("doctrees"))
    with patch_docutils(), docutils_namespace():
        Sphinx(*folders, "html", confoverrides=settings, status=None, warning=said).build()
    if said.getvalue():
        words = said.getvalue().replace(f"{stage}/", "").strip()
        raise InputError(f"the book was not replaced; mend these places first:\n{words}")


def setup(app: Any) -> dict[str, bool]:
    """Be the extension that Sphinx loads: links into the repository, and formulas without JavaScript."""
    for name in ("book_root", "book_source", "book_at"):
        app.add_config_value(name, "", "html")
    app.connect("doctree-read", link_to_repository)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def link_to_repository(app: Any, document: Any) -> None:
    """Aim links to charts at their page, to other files that are none at the repository.

    What leads to neither stays, and Sphinx warns of it.
    """
    from docutils import nodes
    from sphinx.addnodes import download_reference, pending_xref

    root, page = Path(app.config.book_root), app.env.docname
    beside = os.path.relpath(root, Path(app.config.book_at, page).parent)
    for link in list(document.findall(lambda node: isinstance(node, (pending_xref, download_reference)))):
        path, _, anchor = link["reftarget"].partition("#")
        file = Path(os.path.normpath(root / Path(page).parent / path))
        known = link["reftype"] != "myst" or link["refdomain"] == "doc" or not path
        if known or not file.is_relative_to(root) or not file.exists():
            continue
        address = f"{app.config.book_source or beside}/{file.relative_to(root)}{anchor and '#'}{anchor}"
        if file.parent.name == "charts":
            charts = os.path.relpath(file.with_name("charts.html"), root / Path(page).parent)
            address = f"{charts}#{nodes.make_id(file.stem)}"
        link.replace_self(nodes.reference("", "", *link.children, refuri=address))


def write_formula(writer: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers draw themselves."""
    from docutils.nodes import SkipNode, math_block
    from docutils.utils.math.latex2mathml import tex2mathml

    writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, math_block)))
    raise SkipNode


# --- the notebooks of a release -----------------------------------------------------------------------------


def release(profile: str) -> list[Path]:
    """Write a profile's executed notebooks to docs/executed, pictures smaller, and return their paths.

    Raises InputError for a profile whose photographs may not be shown, where one was not run, and where they
    are too large.
    """
    if check_known([profile])[profile]["catalog"]["source"] != "drawn":
        raise InputError(f"{profile}: its notebooks show photographs, not ours to publish; take sample")
    made, executed = {}, executed_notebooks(profile)
    if missing := not_run(executed):
        raise InputError(f"{profile}: {missing} not run yet; run `make repro PROFILE={profile}` first")
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        for output in outputs(notebook):
            if picture := output.get("data", {}).get("image/png"):
                output.data["image/png"] = smaller(picture)
        made[repository_root() / RELEASED / path.name] = nbformat.writes(notebook) + "\n"
    size = sum(len(text.encode()) for text in made.values())
    if size > MOST_BYTES:
        raise InputError(f"{RELEASED}: {size:,} bytes, above {MOST_BYTES:,}; lower MOST_PIXELS")
    for path, text in made.items():
        files.write_text(path, text)
    return list(made)


def smaller(picture: str) -> str:
    """Return a PNG in base64 as one of at most MOST_PIXELS in width and 256 colours, or itself if smaller."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.thumbnail((MOST_PIXELS, image.height))
    kept = io.BytesIO()
    colours = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 2, "dither": Image.Dither.NONE}
    image.quantize(256, **colours).save(kept, "PNG", optimize=True)
    return min(base64.b64encode(kept.getvalue()).decode(), picture, key=len)


def main() -> int:
    """Build the book of a profile, or write the executed notebooks that a release carries."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.pipeline.book", description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("--source", default="", help="the repository's address, say https://host/blob/v1")
    parser.add_argument("--release", action="store_true", help="write docs/executed instead")
    given = parser.parse_args()

    def work() -> None:
        written = release(given.profile) if given.release else [build(given.profile, given.source)]
        for path in written:
            print(path.relative_to(repository_root()))

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
