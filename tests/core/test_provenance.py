"""Which code decides a result: what is reachable, what counts as a change; nothing stale is used again."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import yaml

from solesearch.core import provenance
from solesearch.core.errors import InputError
from solesearch.core.provenance import code_digest
from solesearch.pipeline import notebook

SOURCE = provenance.SOURCE / "solesearch"
TOY = {
    "__init__.py": "",
    "losses.py": '"""Losses."""\nWEIGHT = 1.0\n',
    "train.py": "def run():\n    from toy.losses import WEIGHT\n    return WEIGHT\n",
    "start.py": 'import sys\nCOMMAND = [sys.executable, "-m", "toy.train"]\n',
    "table.py": 'from pathlib import Path\nTABLE = Path(__file__).with_name("rates.csv")\n',
    "rates.csv": "rate\n1\n",
    "room/__init__.py": "from toy.room.door import OPEN\n",
    "room/door.py": "import toy.losses\nOPEN = True\n",
    "circle.py": "import toy.ring\n",
    "ring.py": "from toy import circle\n",
    "room/window.py": "from . import door\nfrom ..train import run\n",
    "page.py": "WORDS = 'see toy.train for more'\n",
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A package of a few modules that reach each other in every way."""
    for name, text in TOY.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "toy"


@pytest.mark.parametrize(
    ("root", "reached"),
    [
        ("toy.losses", "__init__.py losses.py"),
        ("toy.train", "__init__.py losses.py train.py"),  # an import inside a function
        ("toy.start", "__init__.py losses.py start.py train.py"),  # python -m
        ("toy.table", "__init__.py rates.csv table.py"),  # a table beside the code
        ("toy.room.door", "__init__.py losses.py room/__init__.py room/door.py"),
        (
            "toy.room.window",
            "__init__.py losses.py room/__init__.py room/door.py room/window.py train.py",
        ),  # relative imports
        ("toy.circle", "__init__.py circle.py ring.py"),
        ("toy.page", "__init__.py page.py"),  # a sentence that mentions a module reaches nothing
    ],
)
def test_what_a_module_reaches(toy: Path, root: str, reached: str) -> None:
    files = provenance.reachable_code([root], source=toy.parent)
    assert " ".join(file.removeprefix("toy/") for file in files) == reached


@pytest.mark.parametrize(
    ("changed", "text", "other"),
    [
        ("losses.py", '"""Losses."""\nWEIGHT = 1.5\n', True),
        ("losses.py", '"""Said otherwise."""\n# why\nWEIGHT  =  1.0\n', False),
        ("losses.py", "WEIGHT = 1.0\n", False),
        ("train.py", TOY["train.py"].replace("return WEIGHT", "return -WEIGHT"), True),
        ("page.py", "WORDS = 'others'\n", False),
        ("rates.csv", "rate\n2\n", True),  # through table.py
    ],
)
def test_code_counts_and_words_do_not(
    toy: Path, tmp_path: Path, changed: str, text: str, other: bool
) -> None:
    roots = ("toy.train", "toy.table")
    before = code_digest(*roots, source=toy.parent)
    copy = tmp_path / "copy" / "toy"
    shutil.copytree(toy, copy)
    (copy / changed).write_text(text)
    assert (code_digest(*roots, source=copy.parent) != before) is other


def test_unknown_and_broken_modules_are_named(toy: Path) -> None:
    with pytest.raises(InputError, match=r"toy\.lost: no module"):
        code_digest("toy.lost", source=toy.parent)
    (toy / "ring.py").write_text("def (:\n")
    with pytest.raises(InputError, match=r"ring\.py: not valid Python"):
        code_digest("toy.circle", source=toy.parent)


# --- the pipeline ----------------------------------------------------------------------------------------


def plain_closure(text: str) -> set[str]:
    """Follow `solesearch.room.x` and `from solesearch.room import x, y` by regular expressions."""
    waiting, found = [text], set()
    while waiting:
        code = waiting.pop()
        names = set(re.findall(r"(?m)(?:^\s*(?:from|import) |\")solesearch\.(\w+\.\w+)", code))
        for room, listed in re.findall(r"(?m)^\s*from solesearch\.(\w+) import (\([^)]*\)|[^\n]+)", code):
            names |= {f"{room}.{name}" for name in re.findall(r"\w+", listed)}
        for name in names - found:
            path = SOURCE / f"{name.replace('.', '/')}.py"
            if path.is_file():
                found.add(name)
                waiting.append(path.read_text())
    return found


def stages(repository: Path) -> dict[str, dict]:
    read = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in read.items() if name != "strip"}


def test_every_stage_depends_on_all_code_that_it_can_reach(repository: Path) -> None:
    """Each names a code list: the notebook's, or its command's; it holds the closure."""
    checked = 0
    for name, stage in stages(repository).items():
        stem = re.fullmatch(r"python -m solesearch\.pipeline\.notebook run (\w+) \$\{item\}", stage["cmd"])
        if stem is None:
            [module] = re.findall(r"python -m (solesearch[\w.]+) ", stage["cmd"])
            assert f".nb/{name}" in stage["deps"] and notebook.STAGE_COMMANDS[name] == module
            continue
        assert f".nb/{stem[1]}" in stage["deps"], name
        path = repository / "notebooks" / f"{stem[1]}.ipynb"
        read = nbformat.read(path, as_version=4)
        code = provenance.reachable_code(notebook.named_modules(read, path=path))
        cells = "\n".join(cell.source for cell in read.cells if cell.cell_type == "code")
        reached = {f"solesearch/{module.replace('.', '/')}.py" for module in plain_closure(cells)}
        assert reached <= set(code), name
        checked += 1
    assert checked == len(list((repository / "notebooks").glob("*.ipynb")))


def test_a_code_list_changes_with_the_code_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [
        nbformat.v4.new_code_cell("profile = 'smoke'", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("%matplotlib inline\nfrom solesearch.gan.training import train_all"),
    ]
    (workspace / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), workspace / "notebooks" / "one.ipynb")
    notebook.strip_all()
    listed = (workspace / ".nb" / "one" / "code.txt").read_text()
    names = [line.split("  ")[1] for line in listed.splitlines()]
    reached = {f"solesearch/{name}.py" for name in ("gan/training", "gan/infogan", "photos/photo")}
    assert reached <= set(names) and names == sorted(names)
    assert "solesearch/page/web_page.py" not in names
    cells[1].source += "\n1 +"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), workspace / "notebooks" / "one.ipynb")
    with pytest.raises(InputError, match=r"one\.ipynb: cell 2 is not valid Python"):
        notebook.strip_all()


# --- nothing stale is used again -------------------------------------------------------------------------

NETWORKS = "networks.comparison beyond.growth index.cluster_embedding"
ROOTS = f"gan.training gan.continuation beyond.variant_training {NETWORKS}".split()


@pytest.mark.parametrize(
    ("module", "line", "instead", "stale"),
    [
        ("gan/infogan.py", "tf.ones_like(logit) if real", "0.9 * tf.ones_like(logit) if real",
         "gan.training gan.continuation beyond.variant_training beyond.growth index.cluster_embedding"),
        ("photos/photo.py", "/ 127.5 - 1.0", "/ 128.0 - 1.0", " ".join(ROOTS)),
        ("beyond/contrastive.py", "/ temperature - FAR", "/ temperature**2 - FAR", "beyond.variant_training"),
        ("core/imagenet_networks.csv", "VGG16,", "VGG16 ,", NETWORKS),
        ("beyond/methods.py", "power: float = 3.0", "power: float = 2.0", ""),
        ("page/web_page.py", "import base64", "import base64, json", ""),
    ],
)  # fmt: skip
def test_one_line_of_each_kind_of_module_stales_what_it_decides(
    tmp_path: Path, module: str, line: str, instead: str, stale: str
) -> None:
    copy = tmp_path / "src"
    shutil.copytree(SOURCE.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "solesearch" / module
    assert line in path.read_text()
    path.write_text(path.read_text().replace(line, instead, 1))
    names = [f"solesearch.{root}" for root in ROOTS]
    changed = {name for name in names if code_digest(name) != code_digest(name, source=copy)}
    assert changed == {f"solesearch.{root}" for root in stale.split()}
