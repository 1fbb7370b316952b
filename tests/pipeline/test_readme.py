"""Commands of README and docs exist, links lead somewhere, and nothing in the repository names a machine."""

import re
import subprocess
from pathlib import Path

import pytest

TEXTS = {".py", ".md", ".yaml", ".yml", ".ipynb", ".toml", ".csv", ".json", ".lock", ".dvc"}


def tracked(repository: Path) -> list[Path]:
    return [path for path in repository.rglob("*") if path.is_file()]


def pages(repository: Path) -> list[Path]:
    """What a reader can come upon: the README, docs/, and the READMEs of the slots."""
    return [*repository.glob("*.md"), *repository.glob("docs/*.md"), *repository.glob("[dw]*/**/README.md")]


def test_readme_is_short(repository: Path) -> None:
    assert (repository / "README.md").stat().st_size <= 9 * 1024


def test_every_make_command_is_a_target_and_make_lists_them(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text()
    text = "\n".join(page.read_text() for page in pages(repository))
    commands = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", text))  # in code or in backticks
    known = {"repro", "test", "lab", "app", "figures", "verify", "paper", "chapter", "add", "speed"}
    assert known <= commands
    for command in commands:
        assert re.search(rf"(?m)^{command}:.*## ", makefile), command
    shown = subprocess.run(["make"], cwd=repository, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"(?m)^([a-z]+):", makefile)
    assert targets and all(f"make {target}" in shown for target in targets)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_and_anchors_lead_somewhere(repository: Path) -> None:
    count = 0
    for page in pages(repository):
        links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        for link in (link for link in links if "://" not in link):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"
            count += 1
    assert count > 100


def test_every_page_of_docs_says_what_it_is_for_and_is_linked(repository: Path) -> None:
    found = sorted((repository / "docs").glob("*.md"))
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert len(found) > 12
    for page in found:
        title, blank, opening, *_ = page.read_text(encoding="utf-8").splitlines()
        assert title.startswith("# ") and not blank and "[README](../README.md)" in opening, page
        assert f"(docs/{page.name})" in readme, page


def test_every_notebook_is_on_the_students_path(repository: Path) -> None:
    text = (repository / "docs" / "student.md").read_text(encoding="utf-8")
    names = [path.name for path in sorted((repository / "notebooks").glob("*.ipynb"))]
    assert names and re.findall(r"(?m)^\| \[.*?\]\(../notebooks/(.*?)\)", text) == names


def test_the_authors_snippet_draws_a_chart_as_png_and_pdf(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippet = re.search(r"(?ms)^```python\n(.*?)^```", (repository / "docs" / "author.md").read_text())
    monkeypatch.setenv("SOLESEARCH_ROOT", str(repository))
    monkeypatch.chdir(tmp_path)
    exec(snippet.group(1), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ladder.pdf", "ladder.png"]


def test_tree_names_every_room(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    tree = text[text.index("src/solesearch/ ") : text.index("data.dvc, data/")]
    listed = (repository / "docs" / "pipeline.md").read_text()
    rooms = {path.parent.name for path in (repository / "src" / "solesearch").glob("*/__init__.py")}
    assert rooms and rooms <= set(re.findall(r"\w+", tree))
    assert set(re.findall(r"(?m)^(\w+)/ ", listed)) == rooms


def test_nothing_committed_is_a_photograph_or_a_weight_file(repository: Path) -> None:
    unwanted = {".jpg", ".jpeg", ".h5", ".keras", ".onnx", ".npy", ".npz", ".faiss", ".zip"}
    assert [path for path in tracked(repository) if path.suffix.lower() in unwanted] == []
    inside = [path.relative_to(repository).parts for path in tracked(repository)]
    assert {parts[1] for parts in inside if parts[0] == "figures" and "galleries" in parts} <= {"sample"}


def test_no_absolute_path_of_a_machine(repository: Path) -> None:
    home = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    for path in tracked(repository):
        if path.suffix in TEXTS:
            assert not home.search(path.read_text(encoding="utf-8")), path
