"""Exercises: the source's format, the notebooks that come from it, and what a check says.

That every solution is right, in the notebook itself, is seen in test_pipeline.py.
"""

import json
from pathlib import Path

import nbformat
import pytest
from solved_notebooks import answers

from solesearch.core.errors import InputError
from solesearch.pipeline import exercises
from solesearch.pipeline.exercises import check, read_exercises, with_exercises
from solesearch.pipeline.notebook import strip_all, stripped

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

SOURCE = """# Exercises of [one](../one.ipynb)

## How many

Count `a`.

```python start
count = None  # your count
```

```python check
with check(count):
    assert count == 1 + 1, "count again"
```

```python solution
count = 2
```

Two.

## By yourself

Count everything.
"""


@pytest.fixture
def one(workspace: Path) -> Path:
    """A project with one notebook, whose exercises are a list in its last cell, and their source."""
    made = nbformat.v4.new_notebook()
    made.nbformat_minor = 5
    last = "## What we learned\n\nLittle.\n\n## Exercises\n\n1. Old.\n\n**Next:** [two](two.ipynb)"
    made.cells = [
        nbformat.v4.new_code_cell("profile = 'smoke'", metadata={"tags": ["parameters"]}, id="cell-00"),
        nbformat.v4.new_markdown_cell(last, id="ends"),
    ]
    (workspace / "notebooks" / "exercises").mkdir(parents=True)
    (workspace / "notebooks" / "exercises" / "one.md").write_text(SOURCE)
    nbformat.write(made, workspace / "notebooks" / "one.ipynb")
    return workspace / "notebooks" / "one.ipynb"


# --- the committed sources and notebooks -----------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_two_or_three_exercises_and_one_open_question_at_most(name: str) -> None:
    read = read_exercises(name)
    answered = [exercise for exercise in read if exercise.check]
    assert len(answered) in (2, 3)
    assert read[len(answered) :] == [one for one in read if one.title == exercises.OPEN][:1]
    for exercise in answered:
        assert exercise.question.count("\n") == 0 and len(exercise.question) < 450
        assert exercise.start.count("= None") == len(answers(exercise))
        assert max(map(len, exercise.solution.splitlines())) <= 110
        assert len(exercise.solution.splitlines()) <= 14


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_hold_what_their_source_says(name: str) -> None:
    said = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    made = with_exercises(json.loads(said), exercises.exercise_cells(name))
    written = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    assert written == said, "python -m solesearch.pipeline.exercises writes the notebooks anew"


@pytest.mark.parametrize("name", NAMES)
def test_stages_see_no_exercise(name: str) -> None:
    left = stripped(nbformat.read(FOLDER / f"{name}.ipynb", as_version=4))
    text = "\n".join(cell.source for cell in left.cells)
    assert exercises.HEADING not in text and exercises.IMPORT not in text
    assert left.cells[-1].source.startswith(exercises.NEXT)
    assert [cell.id for cell in left.cells] == [f"cell-{n:02d}" for n in range(len(left.cells))]


# --- writing into a notebook -----------------------------------------------------------------------------


def test_a_list_becomes_cells_and_all_else_stays(one: Path) -> None:
    exercises.write_exercises()
    read = nbformat.read(one, as_version=4)
    nbformat.validate(read)
    first, learned, heading, question, code, by_yourself, last = read.cells
    assert (first.source, learned.source) == ("profile = 'smoke'", "## What we learned\n\nLittle.")
    assert heading.source.startswith("## Exercises") and "Old." not in one.read_text(encoding="utf-8")
    assert question.source == "### 1. How many\n\nCount `a`."
    assert code.source.startswith(exercises.IMPORT + "\n\ncount = None") and "count = 2" not in code.source
    assert by_yourself.source == "**By yourself.** Count everything."
    assert last.source == "**Next:** [two](two.ipynb)" and not last.metadata
    assert [cell.id for cell in read.cells] == [f"cell-{n:02d}" for n in range(7)]


def test_writing_again_changes_nothing_and_a_changed_source_its_cells_alone(one: Path) -> None:
    exercises.write_exercises()
    once = one.read_bytes()
    exercises.write_exercises()
    assert one.read_bytes() == once
    source = one.parent / "exercises" / "one.md"
    source.write_text(SOURCE.replace("Count `a`.", "Count `b`."))
    exercises.write_exercises()
    assert one.read_bytes() == once.replace(b"Count `a`.", b"Count `b`.")


def test_exercises_stale_no_stage(one: Path) -> None:
    exercises.write_exercises()
    [copy] = strip_all()
    before = {path.name: path.read_bytes() for path in copy.parent.iterdir()}
    (one.parent / "exercises" / "one.md").write_text(SOURCE.replace("1 + 1", "len('ab')"))
    exercises.write_exercises()
    strip_all()
    assert {path.name: path.read_bytes() for path in copy.parent.iterdir()} == before
    assert b"exercises" not in before["code.txt"]


def test_outputs_of_other_cells_stay(one: Path) -> None:
    read = json.loads(one.read_text(encoding="utf-8"))
    read["cells"][0]["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["seen\n"]}]
    one.write_text(json.dumps(read), encoding="utf-8")
    exercises.write_exercises()
    assert json.loads(one.read_text(encoding="utf-8"))["cells"][0] == read["cells"][0]


# --- what a check says -----------------------------------------------------------------------------------


def solved(count: object, capsys: pytest.CaptureFixture[str]) -> str:
    with check(count):
        if len(count) != 2:
            raise AssertionError("count again")  # an `assert` would be explained by pytest
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "Not answered yet.\n"),
        (..., "Not answered yet.\n"),
        ("abc", "Not yet: count again\n"),
        (2, "Not yet: the check ended in TypeError: object of type 'int' has no len()\n"),
        ("ab", "Right.\n"),
    ],
)
def test_a_check_says_right_wrong_or_unanswered(answer: object, said: str, capsys) -> None:
    assert solved(answer, capsys) == said


def test_one_answer_of_two_is_none_and_an_assertion_without_words_is_wrong(capsys) -> None:
    with check(1, None):
        pass
    with check(1):
        raise AssertionError
    assert capsys.readouterr().out == "Not answered yet.\nNot yet: an assertion does not hold\n"


# --- damaged sources -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("```python check", "```python chek", "'How many': needs a question, the blocks"),
        ("```\n\nTwo.", "```", "'How many': needs a question, the blocks"),
        ("Count `a`.\n", "", "'How many': needs a question, the blocks"),
        ("count = 2\n```", "count = 2", "'How many': needs a question, the blocks"),
        ("count = 2", "count = = 2", "'How many': block solution is not valid Python"),
        ("with check(count):", "if count:", "'How many': block check holds no `with check"),
        ("## ", "", "no exercise; each begins with a heading"),
    ],
)
def test_a_damaged_source_is_named_in_one_line(one: Path, old: str, new: str, told: str, capsys) -> None:
    source, before = one.parent / "exercises" / "one.md", one.read_bytes()
    assert old in SOURCE
    source.write_text(SOURCE.replace(old, new))
    with pytest.raises(InputError) as raised:
        exercises.write_exercises()
    assert str(source) in str(raised.value) and told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert one.read_bytes() == before


def test_a_missing_source_and_a_notebook_without_an_end_are_named(one: Path) -> None:
    source = one.parent / "exercises" / "one.md"
    one.write_bytes(one.read_bytes().replace(b"**Next:**", b"Then"))
    with pytest.raises(InputError, match=r"one\.ipynb: the last cell must .* \*\*Next:\*\*"):
        exercises.write_exercises()
    source.unlink()
    with pytest.raises(InputError, match=r"one\.md: not there"):
        exercises.write_exercises()
