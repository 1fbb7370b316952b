"""Which code decides a result: the modules that a module or a notebook can reach inside this package.

A result that lies on the disk is used again only when code, settings and data that decide it are the same.
The code is found by following imports, never listed by hand: a new module is in from its first import on.
Comments, docstrings and layout change no number and count for nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from solesearch.core.errors import InputError

SOURCE = Path(__file__).resolve().parents[2]  # holds the packages: solesearch and drawn_shoes
DEFINITIONS = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_digest(*roots: str, source: Path = SOURCE) -> str:
    """Return the sha256 of all code that `roots` (say "solesearch.gan.training") can reach, 64 hex digits."""
    lines = "".join(f"{name}\t{digest}\n" for name, digest in reachable_code(roots, source=source).items())
    return hashlib.sha256(lines.encode()).hexdigest()


def reachable_code(roots: Iterable[str], *, source: Path = SOURCE) -> dict[str, str]:
    """Return file below `source` -> sha256 of what it says, for all that modules `roots` reach, sorted.

    Reached are imports, also inside functions, the packages around a module, a module named as a whole
    string (`python -m`), and a file of a package named as a whole string (a table, a style). Raises
    InputError for a root that is no module here, and for a module that is no valid Python.
    """
    waiting, found = {path for root in roots for path in _root_files(root, source)}, {}
    while waiting:
        path = waiting.pop()
        found[path] = file_digest(path)
        waiting |= set(_references(path, source)) - found.keys()
    return {path.relative_to(source).as_posix(): found[path] for path in sorted(found)}


def references(code: str, *, source: Path = SOURCE) -> set[str]:
    """Return the modules of our packages that a piece of code (a notebook's cells) names, by dotted name."""
    files = _named_files(ast.parse(code), source, inside="")
    return {_dotted(path, source) for path in files if path.suffix == ".py"}


@cache
def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes; of Python without comments, docstrings and layout.

    Kept for the life of the process, which runs the code that it has imported.
    """
    said = ast.dump(_parsed(path)).encode() if path.suffix == ".py" else path.read_bytes()
    return hashlib.sha256(said).hexdigest()


@cache
def _parsed(path: Path) -> ast.Module:
    """Return a module's tree without docstrings."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: not valid Python ({error}); restore it with `git checkout`") from error
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _root_files(name: str, source: Path) -> set[Path]:
    files = _module_files(name, source)
    if not files:
        raise InputError(f"{name}: no module in {source}")
    return files


@cache
def _references(path: Path, source: Path) -> frozenset[Path]:
    if path.suffix != ".py":
        return frozenset()
    inside = ".".join(path.parent.relative_to(source).parts)
    return frozenset(_named_files(_parsed(path), source, inside=inside))


def _named_files(tree: ast.AST, source: Path, *, inside: str) -> set[Path]:
    """Return the files below `source` that code in package `inside` imports, or names as whole strings."""
    found, data = set[Path](), _data_files(source)
    for node in ast.walk(tree):
        for name in _named(node, inside=inside):
            found |= _module_files(name, source)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in data:
            found.add(data[node.value])
    return found


@cache
def _data_files(source: Path) -> dict[str, Path]:
    """Return name -> path of the packages' tables, styles and pages."""
    inside = (path for path in source.rglob("*") if path.suffix not in (".py", ".pyc"))
    there = (path for path in inside if path.is_file() and ".egg-info" not in path.parent.name)
    return {path.name: path for path in there}


def _named(node: ast.AST, *, inside: str) -> Iterator[str]:
    """Yield the dotted names that a node may mean a module by; `from .` counts from the package `inside`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = inside.split(".")[: 1 - node.level or None] if node.level else []
        origin = ".".join((*above, *filter(None, [node.module])))
        yield origin
        yield from (f"{origin}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _module_files(name: str, source: Path) -> set[Path]:
    """Return a module's file and the __init__ files around it; nothing for what is no module here."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or not source.joinpath(parts[0]).is_dir():
        return set()
    path = source.joinpath(*parts)
    module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not module.is_file():
        return set()
    around = (source.joinpath(*parts[:depth]) / "__init__.py" for depth in range(1, len(parts)))
    return {module, *(init for init in around if init.is_file())}


def _dotted(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")
