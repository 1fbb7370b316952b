"""The notebooks' exercises: one source each, from which notebook and book take what they show.

`notebooks/exercises/<notebook>.md` holds for each exercise a heading, the question, three blocks of Python
(`start`, what the reader fills in; `check`, which tells right from wrong; `solution`) and the answer.
This module writes question, start and check into the notebook; the book shows solution and answer, too.
It imports nothing that a result depends on, since cells of notebooks import `check` from here.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import repository_root

TAG = "exercise"  # of cells that no stage runs or depends on
HEADING, NEXT = "## Exercises", "**Next:**"
OPEN = "By yourself"  # the title of a question without blocks, whose answer nobody can check
IMPORT = "from solesearch.pipeline.exercises import check"
BLOCKS = ("start", "check", "solution")
FENCED = re.compile(r"^```python (\w+)\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
INTRODUCTION = """{heading}

Put your answer in place of `None` and run the cell: it says whether it is right. \
Solutions are in [exercises/{name}.md](exercises/{name}.md)."""


class Exercise(NamedTuple):
    """One exercise; start, check, solution and answer are empty where the question is an open one."""

    title: str
    question: str
    start: str = ""
    check: str = ""
    solution: str = ""
    answer: str = ""

    def code(self, filled_in: str) -> str:
        """Return the cell with `filled_in`, start or solution, above the check."""
        return f"{IMPORT}\n\n{filled_in}\n\n{self.check}"


@contextmanager
def check(*answers: Any) -> Iterator[None]:
    """Say whether the assertions inside hold: right, not yet and why, or not answered yet.

    Nothing is raised, so that a notebook runs to its end before anybody has answered. An answer that is
    None or `...` is none.
    """
    reason = ""
    try:
        yield
    except AssertionError as error:
        reason = str(error) or "an assertion does not hold"
    except Exception as error:  # an answer of another kind than asked for
        reason = f"the check ended in {type(error).__name__}: {error}"
    if any(answer is None or answer is ... for answer in answers):
        print("Not answered yet.")
    else:
        print(f"Not yet: {reason}" if reason else "Right.")


def read_exercises(notebook: str) -> list[Exercise]:
    """Return the exercises of a notebook, say of `05_index`.

    Raises InputError that names the file, and the exercise that is damaged.
    """
    path = repository_root() / "notebooks" / "exercises" / f"{notebook}.md"
    if not path.is_file():
        raise InputError(f"{path}: not there; each notebook has its exercises in such a file")
    _, *sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not sections:
        raise InputError(f"{path}: no exercise; each begins with a heading `## Title`")
    parted = (section.partition("\n") for section in sections)
    return [_exercise(title.strip(), text.strip(), path) for title, _, text in parted]


def _exercise(title: str, text: str, path: Path) -> Exercise:
    where = f"{path}: exercise {title!r}"
    if title == OPEN:
        return Exercise(title, text)
    question, *parts = FENCED.split(text)  # a block's name, its code, and what stands below it
    answer = parts[-1].strip() if parts else ""
    if (*parts[::3],) != BLOCKS or "".join(parts[2:-1:3]).strip() or not question.strip() or not answer:
        raise InputError(
            f"{where}: needs a question, the blocks `python start`, `python check` and `python solution`, "
            "and an answer, in this order"
        )
    exercise = Exercise(title, question.strip(), *parts[1::3], answer)
    for name in BLOCKS:
        try:
            ast.parse(getattr(exercise, name))
        except SyntaxError as error:
            raise InputError(f"{where}: block {name} is not valid Python ({error})") from error
    if "with check(" not in exercise.check:
        raise InputError(f"{where}: block check holds no `with check(...)`, so nothing would be said")
    return exercise


def exercise_cells(notebook: str) -> list[dict[str, Any]]:
    """Return the cells of a notebook's exercise section, tagged and without ids."""
    cells = [_cell("markdown", INTRODUCTION.format(heading=HEADING, name=notebook))]
    for number, exercise in enumerate(read_exercises(notebook), start=1):
        if not exercise.check:
            cells.append(_cell("markdown", f"**{exercise.title}.** {exercise.question}"))
            continue
        cells.append(_cell("markdown", f"### {number}. {exercise.title}\n\n{exercise.question}"))
        cells.append(_cell("code", exercise.code(exercise.start)))
    return cells


def _cell(kind: str, source: str, tags: tuple[str, ...] = (TAG,)) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": "", "metadata": {"tags": [*tags]} if tags else {}}
    code = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return dict(sorted({**cell, **code, "source": source.splitlines(keepends=True)}.items()))


def with_exercises(notebook: dict[str, Any], cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a notebook, as JSON, with `cells` in the place of its exercise section; all ids are renumbered.

    The section reaches from its heading, where there is one, to the line of the next notebook. Raises
    InputError where that line is missing.
    """
    kept = [cell for cell in notebook["cells"] if TAG not in cell["metadata"].get("tags", [])]
    last = kept[-1]
    before, line, after = "".join(last["source"]).rpartition(NEXT)
    if not line or last["cell_type"] != "markdown":
        raise InputError(f"the last cell must be Markdown and end in a line that begins with {NEXT}")
    before = before.partition(HEADING)[0].strip()
    kept[-1:] = [{**last, "source": before.splitlines(keepends=True)}] if before else []
    kept += [*cells, _cell("markdown", line + after, tags=())]
    return {**notebook, "cells": [{**cell, "id": f"cell-{n:02d}"} for n, cell in enumerate(kept)]}


def write_exercises() -> None:
    """Write every notebook's exercises into it; a notebook that has them already stays as it is."""
    for path in sorted((repository_root() / "notebooks").glob("*.ipynb")):
        said = path.read_text(encoding="utf-8")
        try:
            made = with_exercises(json.loads(said), exercise_cells(path.stem))
        except (InputError, ValueError, LookupError) as error:
            raise error if str(path.parent) in str(error) else InputError(f"{path}: {error}") from error
        written = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        if written != said:
            files.write_text(path, written)


def main() -> int:
    """Write the exercises of notebooks/exercises/ into the notebooks."""
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    return exit_status(write_exercises)


if __name__ == "__main__":
    sys.exit(main())
