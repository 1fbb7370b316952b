"""Notebooks that solve their own exercises: each is checked unanswered, with its solution, and spoiled."""

import ast
import inspect
import json
from pathlib import Path

import nbformat

from solesearch.pipeline.exercises import TAG, Exercise, read_exercises

SAID = {"unanswered": "Not answered yet.\n", "solved": "Right.\n", "spoiled": "Not yet: "}


def spoiled(answer):
    """Return an answer of the same kind that is wrong."""
    kind = getattr(getattr(answer, "dtype", None), "kind", "")
    if isinstance(answer, set):
        return answer | {"nothing of the kind"}
    if isinstance(answer, list | tuple):
        return [spoiled(one) for one in answer]
    if kind in ("i", "u", "f") or isinstance(answer, int | float):
        return 2 * answer + 1
    return answer.iloc[1:] if hasattr(answer, "iloc") else answer[1:] if kind else "nothing of the kind"


def answers(exercise: Exercise) -> list[str]:
    """Return the names that a check asks for, those in `with check(...)`."""
    [block] = [node for node in ast.parse(exercise.check).body if isinstance(node, ast.With)]
    return [name.id for name in block.items[0].context_expr.args]


def cell(source: str, tag: str) -> dict:
    made = {
        "cell_type": "code",
        "execution_count": None,
        "id": "",
        "metadata": {"tags": [tag]},
        "outputs": [],
    }
    return {**made, "source": source.splitlines(keepends=True)}


def solved_cells(exercise: Exercise) -> list[dict]:
    """Return cells that ask a check unanswered, with the solution, and with each answer spoiled in turn."""
    cells = [cell(exercise.code(exercise.start), "unanswered")]
    # what the reader finds below `start` stays; only the names asked for get values
    cells.append(cell(exercise.code(f"{exercise.start}\n{exercise.solution}"), "solved"))
    for name in answers(exercise):
        swapped = f"right, {name} = {name}, spoiled({name})\n{exercise.check}\n{name} = right"
        cells.append(cell(f"{inspect.getsource(spoiled)}\n\n{swapped}", "spoiled"))
    return cells


def solve(notebook: Path, *, name: str) -> None:
    """Put solved exercises, without the tag that stages leave out, in the place of a notebook's own."""
    read = json.loads(notebook.read_text(encoding="utf-8"))
    kept = [one for one in read["cells"] if TAG not in one["metadata"].get("tags", [])]
    solved = [one for each in read_exercises(name) if each.check for one in solved_cells(each)]
    cells = [{**one, "id": f"cell-{n:02d}"} for n, one in enumerate([*kept, *solved])]
    notebook.write_text(json.dumps({**read, "cells": cells}), encoding="utf-8")


def misjudged(executed: nbformat.NotebookNode) -> list[str]:
    """Return the cells of an executed solved notebook whose check said something else than it had to."""
    wrong = []
    for one in executed.cells:
        [*tags] = SAID.keys() & set(one.metadata.get("tags", []))
        said = "".join(output.get("text", "") for output in one.get("outputs", []))
        if tags and not (said.startswith if tags == ["spoiled"] else said.__eq__)(SAID[tags[0]]):
            wrong.append(f"{tags[0]}: {said!r} from\n{one.source}")
    return wrong
