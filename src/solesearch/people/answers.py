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
from solesearch.evaluation.study import Study
from solesearch.people.human_study import (
    LETTERS,
    HumanStudySettings,
    Plan,
    PlanFiles,
    catalogue_digest,
    make_plan,
    set_foreign_study_aside,
)

SIMULATED = "simulated-"  # begins the names of simulated annotators, and of nobody else
BUSY_S = 15.0  # how long a writer waits for the others
WRITE = "BEGIN IMMEDIATE"  # takes the lock now, so that reading and writing are one
NOTHING = "none"  # in the CSV: no row was ticked
UNIQUE = ["plan", "annotator", "task"]
COLUMNS = [*UNIQUE, "rows", "milliseconds", "answered_at"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL, annotator TEXT NOT NULL, task TEXT NOT NULL,
    rows TEXT NOT NULL, milliseconds INTEGER NOT NULL, answered_at TEXT NOT NULL,
    UNIQUE (plan, annotator, task)
);
CREATE TABLE IF NOT EXISTS undone (
    plan TEXT NOT NULL, annotator TEXT NOT NULL, task TEXT NOT NULL,
    rows TEXT NOT NULL, milliseconds INTEGER NOT NULL, answered_at TEXT NOT NULL
);
"""


class ConflictError(InputError):
    """Another answer to the same task by the same annotator is there already."""


def in_order(rows: str) -> str:
    """Return the letters of ticked rows in order; raises ValueError when one is none or comes twice."""
    if set(rows) - set(LETTERS) or len(set(rows)) != len(rows):
        raise ValueError(f"letters of rows, {LETTERS[0]} to {LETTERS[-1]}, each once")
    return "".join(sorted(rows))


Letters = Annotated[
    str,
    BeforeValidator(lambda rows: "".join(map(str, rows)) if isinstance(rows, list) else rows),  # as JSON
    AfterValidator(in_order),
]
Annotator = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


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
    answered_at: str = ""


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
        where = "plan = ? AND annotator = ? AND task = ?"
        with self._open(WRITE) as connection:
            known = connection.execute(f"SELECT rows FROM answers WHERE {where}", answer.unique).fetchone()
            if known and known[0] != answer.rows:
                raise ConflictError(f"task {answer.task}: answered already, otherwise; undo that first")
            if known:
                return False
            connection.execute(
                f"INSERT INTO answers ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)",
                (*answer.unique, answer.rows, answer.milliseconds, answer.answered_at or now()),
            )
        return True

    def undo(self, asked: Assignment) -> Answer | None:
        """Take back an annotator's last answer and return it.

        None, and nothing changes, when the task is not the last one answered: a second click, or another tab.
        """
        where, columns = "plan = ? AND annotator = ? AND task = ?", ", ".join(COLUMNS)
        with self._open(WRITE) as connection:
            last = self._last(connection, asked.plan, asked.annotator)
            if last is None or last.task != asked.task:
                return None
            connection.execute(f"INSERT INTO undone SELECT {columns} FROM answers WHERE {where}", last.unique)
            connection.execute(f"DELETE FROM answers WHERE {where}", last.unique)
            return last

    @staticmethod
    def _last(connection: sqlite3.Connection, plan: str, annotator: str) -> Answer | None:
        row = connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM answers WHERE plan = ? AND annotator = ? "
            "ORDER BY number DESC LIMIT 1",
            (plan, annotator),
        ).fetchone()
        return Answer(**dict(zip(COLUMNS, row, strict=True))) if row else None

    def progress(self, *, plan: str, annotator: str) -> tuple[set[str], Answer | None]:
        """Return (tasks that an annotator has answered, the last answer)."""
        with self._open() as connection:
            tasks = connection.execute(
                "SELECT task FROM answers WHERE plan = ? AND annotator = ?", (plan, annotator)
            ).fetchall()
            return {task for (task,) in tasks}, self._last(connection, plan, annotator)

    def count_by_plan(self) -> dict[str, int]:
        """Return plan -> number of answers."""
        with self._open() as connection:
            return dict(connection.execute("SELECT plan, count(*) FROM answers GROUP BY plan").fetchall())

    def table(self, name: str = "answers") -> pd.DataFrame:
        """Return all answers (or those `undone`) in the order they came in, columns COLUMNS."""
        with self._open() as connection:
            return pd.read_sql(f"SELECT {', '.join(COLUMNS)} FROM {name} ORDER BY rowid", connection)


def now() -> str:
    """Return the time in UTC to the millisecond, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# --- CSV -------------------------------------------------------------------------------------------------


def write_answers(path: Path, answers: pd.DataFrame) -> None:
    """Write answers (columns COLUMNS) as CSV, sorted, so that a diff shows what was added; "" as `none`."""
    shown = answers.assign(rows=answers["rows"].replace("", NOTHING))
    files.write_table(path, shown.sort_values(UNIQUE, ignore_index=True)[COLUMNS])


def read_answers(path: Path, plan: Plan) -> pd.DataFrame:
    """Return the answers of a CSV (columns COLUMNS), all to `plan`; InputError names file and line."""
    try:
        table = files.read_table(path, made_by="answers export", dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a table of answers ({error})") from error
    answers: dict[tuple[str, str, str], Answer] = {}
    for number, line in enumerate(table.replace({"rows": {NOTHING: ""}}).to_dict("records"), start=2):
        try:
            answer = Answer(**line)
            check_answer(answer, plan)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{path}, line {number}: {first['loc'][0]}: {first['msg']}") from error
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        if answer.unique in answers:
            raise InputError(f"{path}, line {number}: task {answer.task} is answered twice")
        answers[answer.unique] = answer
    return pd.DataFrame([answer.model_dump() for answer in answers.values()], columns=COLUMNS)


def merged(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all answers, each once; of two to the same task by the same annotator the later one stands."""
    every = pd.concat(tables, ignore_index=True)
    every = every.sort_values("answered_at", kind="stable").drop_duplicates(UNIQUE, keep="last")
    return every.sort_values(UNIQUE, ignore_index=True)


# --- the command -----------------------------------------------------------------------------------------


def export(paths: Paths) -> list[Path]:
    """Bring the store into data/answers/<profile>.csv, plan and key beside it; return what was written.

    Answers that lie there already stay, but for those taken back since. Raises InputError without a store,
    or when its answers are not all to the plan in runs/<profile>/.
    """
    if not paths.answer_store.is_file():
        raise InputError(f"{paths.answer_store}: no answers yet; `make app` serves the study")
    plan, key = PlanFiles.shown(paths).read()
    store = AnswerStore(paths.answer_store)
    if foreign := set(store.count_by_plan()) - {plan.id}:
        raise InputError(f"{paths.answer_store}: holds answers to plan {foreign.pop()}, not {plan.id}")
    tables = [store.table()]
    if paths.answers.is_file():
        kept, undone = read_answers(paths.answers, plan), store.table("undone")
        exact = [*UNIQUE, "answered_at"]  # an answer given anew after an undo is another one
        taken_back = pd.MultiIndex.from_frame(kept[exact]).isin(pd.MultiIndex.from_frame(undone[exact]))
        tables.insert(0, kept[~taken_back])
    kept_files = PlanFiles.kept(paths)
    kept_files.write(plan, key)
    write_answers(paths.answers, merged(tables))
    return [paths.answers, *kept_files]


def merge_files(paths: Paths, others: Sequence[Path]) -> int:
    """Add the answers of other CSV files, say from other machines, to the committed ones; return how many."""
    kept = PlanFiles.kept(paths)
    plan, key = (kept if kept.plan.is_file() else PlanFiles.shown(paths)).read()
    before = [read_answers(paths.answers, plan)] if paths.answers.is_file() else []
    answers = merged([*before, *(read_answers(path, plan) for path in others)])
    if not kept.plan.is_file():
        kept.write(plan, key)
    write_answers(paths.answers, answers)
    return len(answers) - sum(map(len, before))


def prepare_plan(study: Study, settings: HumanStudySettings) -> tuple[Plan, pd.DataFrame]:
    """Put plan and key into runs/<profile>/human_study/ and return them.

    A plan that lies beside committed answers is taken as it is: what people saw must not change after them.
    Where it numbers other photos than the catalogue's, a new study begins and the old one is set aside.
    Otherwise the plan is made from the settings. Raises InputError when answers not exported yet belong to
    another plan of the same photos.
    """
    set_foreign_study_aside(study.paths, catalogue=catalogue_digest(study.photos))
    kept = PlanFiles.kept(study.paths)
    plan, key = kept.read() if kept.plan.is_file() else make_plan(study, settings)
    store = study.paths.answer_store
    waiting = AnswerStore(store).count_by_plan() if store.is_file() else {}
    if foreign := {name: count for name, count in waiting.items() if name != plan.id}:
        raise InputError(
            f"{store}: holds {sum(foreign.values())} answers to plan {next(iter(foreign))}, not {plan.id}; "
            f"run `python -m solesearch.people.answers export {study.paths.profile}`, which keeps that plan "
            "with them, or move the file away"
        )
    PlanFiles.shown(study.paths).write(plan, key)
    return plan, key


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
