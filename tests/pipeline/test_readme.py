"""The README's commands exist, its links lead somewhere, and nothing in the repository names a machine."""

import re
import subprocess
from pathlib import Path

TEXTS = {".py", ".md", ".yaml", ".yml", ".ipynb", ".toml", ".csv", ".json", ".lock", ".dvc"}


def tracked(repository: Path) -> list[Path]:
    return [path for path in repository.rglob("*") if path.is_file()]


def test_every_make_command_is_a_target_and_make_lists_them(repository: Path) -> None:
    text = (repository / "README.md").read_text() + (repository / "data" / "README.md").read_text()
    makefile = (repository / "Makefile").read_text()
    commands = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", text))  # in code or in backticks
    known = {"repro", "test", "lab", "app", "figures", "verify", "paper", "chapter", "add", "speed"}
    assert known <= commands
    for command in commands:
        assert re.search(rf"(?m)^{command}:.*## ", makefile), command
    shown = subprocess.run(["make"], cwd=repository, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"(?m)^([a-z]+):", makefile)
    assert targets and all(f"make {target}" in shown for target in targets)


def test_links_lead_somewhere(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(links) > 8
    assert [link for link in links if not (repository / link).exists()] == []


def test_tree_names_every_room(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    tree = text[text.index("src/solesearch/ ") : text.index("data.dvc, data/")]
    rooms = {path.parent.name for path in (repository / "src" / "solesearch").glob("*/__init__.py")}
    assert rooms and rooms <= set(re.findall(r"\w+", tree))


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
