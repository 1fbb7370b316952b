"""What people answered: a store that loses nothing, and its export (`python -m solesearch.people.answers`).

Answers come in through SQLite (write-ahead log, every commit forced to the disk): what was acknowledged
survives a SIGKILL, and UNIQUE (plan, annotator, task) lets none count twice. The store is one machine's and
ignored by Git; `export` brings it into data/answers/<profile>.csv, which is committed, together with the
plan and the key that the answers belong to. Both are primary data: no stage ever writes them.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.people.human_study import LETTERS, Plan, PlanFiles, problem_line

SIMULATED = "simulated-"  # begins the names of simulated annotators, and of nobody else
BUSY_S = 15.0  # how long a writer waits for the others
WRITE = "BEGIN IMMEDIATE"  # takes the lock now, so that reading and writing are one
NOTHING = "none"  # in the CSV: no row was ticked
UNIQUE = ["plan", "annotator", "task"]
COLUMNS = [*UNIQUE, "rows", "milliseconds", "answered_at"]
NAMES = ", ".join(COLUMNS)
THIS_TASK = "plan = ? AND annotator = ? AND task = ?"

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL, annotator TEXT NOT NULL, task TEXT NOT NULL,
    rows TEXT NOT NULL, milliseconds INTEGER NOT NULL, answered_at TEXT NOT NULL,
    UNIQUE (plan, annotator, task)
);
CREATE TABLE IF NOT EXISTS undone AS
    SELECT plan, annotator, task, rows, milliseconds, answered_at FROM answers WHERE FALSE;
"""


class ConflictError(InputError):
    """Another answer to the same task by the same annotator is there already."""


def in_order(rows: str) -> str:
    """Return the letters of ticked rows in order; raises ValueError when one is none or comes twice."""
    if set(rows) - set(LETTERS) or len(set(rows)) != len(rows):
        raise ValueError(f"letters of rows, {LETTERS[0]} to {LETTERS[-1]}, each once")
    return "".join(sorted(rows))


def person(name: str) -> str:
    """Return an annotator's name if it can be a person's; raises ValueError otherwise."""
    if name.lower().startswith(SIMULATED):
        raise ValueError(f"names with {SIMULATED} are those of simulated annotators")
    return name


Letters = Annotated[
    str,
    BeforeValidator(lambda rows: "".join(map(str, rows)) if isinstance(rows, list) else rows),  # as JSON
    AfterValidator(in_order),
]
Annotator = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$"), AfterValidator(person)]


class Assignment(BaseModel):
    """One annotator's turn at one task of a plan; the limits hold for what is sent and for a CSV alike."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: str = Field(max_length=40)
    annotator: Annotator
    task: str = Field(max_length=20)

    @property
    def unique(self) -> tuple[str, str, str]:
        """What no two answers share."""
        return self.plan, self.annotator, self.task


class Answer(Assignment):
    """What was ticked: the letters of the rows in order, "" for none."""

    rows: Letters
    milliseconds: int = Field(ge=0, le=24 * 3600 * 1000)


class KeptAnswer(Answer):
    """An answer as store and CSV hold it; when it came is for the server to say."""

    answered_at: str


def check_answer(answer: Answer, plan: Plan) -> None:
    """Raise InputError when the plan has no such task or row."""
    if answer.plan != plan.id:
        raise InputError(f"plan {answer.plan}: the study goes on with plan {plan.id}; load the page again")
    if answer.task not in plan.tasks:
        raise InputError(f"task {answer.task!r}: not in the plan")
    if set(answer.rows) - plan.tasks[answer.task].rows.keys():
        raise InputError(f"rows: task {answer.task} has {', '.join(plan.tasks[answer.task].rows)}")


class AnswerStore:
    """Answers in one SQLite file; any number of threads and processes may write at once."""

    def __init__(self, path: Path):
        """Open the store at `path`, making it if needed; raises InputError when it is no such file."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._open() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: no store of answers ({error}); move it away") from error

    @contextmanager
    def _open(self, begin: str = "") -> Iterator[sqlite3.Connection]:
        """Give a connection, another for every call: threads share nothing, a kill leaves nothing open."""
        with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
            with connection:  # commits what was begun, or takes it back
                connection.execute(begin)
                yield connection

    def record(self, answer: Answer) -> bool:
        """Keep an answer; return False when the very same one was there already (a double click).

        It is on the disk when this returns. Raises ConflictError where the annotator answered otherwise.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._open(WRITE) as connection:
            written = connection.execute(
                f"INSERT INTO answers ({NAMES}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*answer.unique, answer.rows, answer.milliseconds, now),
            ).rowcount
            kept = connection.execute(f"SELECT rows FROM answers WHERE {THIS_TASK}", answer.unique).fetchone()
        if kept[0] != answer.rows:
            raise ConflictError(f"task {answer.task}: answered already, otherwise; undo that first")
        return written == 1

    def undo(self, asked: Assignment) -> Answer | None:
        """Take back an annotator's last answer and return it.

        None, and nothing changes, when the task is not the last one answered: a second click, or another tab.
        """
        with self._open(WRITE) as connection:
            last = self._given(connection, asked.plan, asked.annotator)[-1:]
            if [answer.task for answer in last] != [asked.task]:
                return None
            connection.execute(
                f"INSERT INTO undone SELECT {NAMES} FROM answers WHERE {THIS_TASK}", asked.unique
            )
            connection.execute(f"DELETE FROM answers WHERE {THIS_TASK}", asked.unique)
            return last[0]

    @staticmethod
    def _given(connection: sqlite3.Connection, plan: str, annotator: str) -> list[KeptAnswer]:
        found = connection.execute(
            f"SELECT {NAMES} FROM answers WHERE plan = ? AND annotator = ? ORDER BY number", (plan, annotator)
        )
        return [KeptAnswer(**dict(zip(COLUMNS, row, strict=True))) for row in found]

    def given(self, *, plan: str, annotator: str) -> list[KeptAnswer]:
        """Return an annotator's answers in the order they came in."""
        with self._open() as connection:
            return self._given(connection, plan, annotator)

    def table(self, name: str = "answers") -> pd.DataFrame:
        """Return all answers (or those `undone`) in the order they came in, columns COLUMNS."""
        with self._open() as connection:
            return pd.read_sql(f"SELECT {NAMES} FROM {name} ORDER BY rowid", connection)


# --- CSV -------------------------------------------------------------------------------------------------


def write_answers(path: Path, tables: Sequence[pd.DataFrame]) -> int:
    """Write all answers of `tables` (columns COLUMNS) as one CSV, sorted for readable diffs; return how many.

    Of two to the same task by the same annotator the later one stands. "" is written as `none`.
    """
    every = pd.concat(tables, ignore_index=True).sort_values("answered_at", kind="stable")
    every = every.drop_duplicates(UNIQUE, keep="last").replace({"rows": {"": NOTHING}})
    files.write_table(path, every.sort_values(UNIQUE)[COLUMNS])
    return len(every)


def read_answers(path: Path, plan: Plan) -> pd.DataFrame:
    """Return the answers of a CSV (columns COLUMNS), all to `plan`; InputError names file and line."""
    try:
        table = files.read_table(path, made_by="answers export", dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a table of answers ({error})") from error
    answers: dict[tuple[str, str, str], KeptAnswer] = {}
    for number, line in enumerate(table.replace({"rows": {NOTHING: ""}}).to_dict("records"), start=2):
        try:
            answer = KeptAnswer(**line)
            check_answer(answer, plan)
        except ValueError as error:
            words = problem_line(error) if isinstance(error, ValidationError) else error
            raise InputError(f"{path}, line {number}: {words}") from error
        if answer.unique in answers:
            raise InputError(f"{path}, line {number}: task {answer.task} is answered twice")
        answers[answer.unique] = answer
    return pd.DataFrame([answer.model_dump() for answer in answers.values()], columns=COLUMNS)


# --- the command -----------------------------------------------------------------------------------------


def export(paths: Paths) -> list[Path]:
    """Bring the store into data/answers/<profile>.csv, plan and key beside it; return what was written.

    Answers that lie there already stay, but for those taken back since. Raises InputError without a store,
    or when its answers are not all to the plan in runs/<profile>/.
    """
    if not paths.answer_store.is_file():
        raise InputError(f"{paths.answer_store}: no answers yet; `make app` serves the study")
    plan, key = PlanFiles.shown(paths).read()
    store, kept_files = AnswerStore(paths.answer_store), PlanFiles.kept(paths)
    tables = [store.table()]
    if foreign := set(tables[0]["plan"]) - {plan.id}:
        raise InputError(f"{paths.answer_store}: holds answers to plan {foreign.pop()}, not {plan.id}")
    if paths.answers.is_file():
        kept, undone = read_answers(paths.answers, plan), store.table("undone")
        exact = [*UNIQUE, "answered_at"]  # an answer given anew after an undo is another one
        taken_back = pd.MultiIndex.from_frame(kept[exact]).isin(pd.MultiIndex.from_frame(undone[exact]))
        tables.insert(0, kept[~taken_back])
    kept_files.write(plan, key)
    write_answers(paths.answers, tables)
    return [paths.answers, *kept_files]


def merge_files(paths: Paths, others: Sequence[Path]) -> int:
    """Add the answers of other CSV files, say from other machines, to the committed ones; return how many."""
    if not others:
        raise InputError("merge: name the CSV files to add, say those that `export` wrote on other machines")
    kept = PlanFiles.kept(paths)
    plan, key = (kept if kept.plan.is_file() else PlanFiles.shown(paths)).read()
    before = [read_answers(paths.answers, plan)] if paths.answers.is_file() else []
    tables = [*before, *(read_answers(path, plan) for path in others)]
    kept.write(plan, key)
    return write_answers(paths.answers, tables) - sum(map(len, before))


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the answers of a profile, or merge those of other machines."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.people.answers", description=main.__doc__)
    parser.add_argument("what", choices=("export", "merge"))
    parser.add_argument("profile")
    parser.add_argument("csv", nargs="*", type=Path, help="for merge: CSV files exported elsewhere")
    chosen = parser.parse_args(arguments)

    def work() -> None:
        paths = Paths.of(chosen.profile)
        if chosen.what == "export":
            for path in export(paths):
                print(path.relative_to(paths.root).as_posix())
        else:
            print(f"{merge_files(paths, chosen.csv)} answers added to {paths.answers.name}")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
