"""What people answered, in a store that loses nothing: `python -m solesearch.people.answers --help`.

Answers come in through SQLite (write-ahead log, every commit forced to the disk): what was acknowledged
survives a SIGKILL, and UNIQUE (plan, annotator, task) lets none count twice. The store is one machine's and
ignored by Git; `export` brings it into data/answers/<profile>.csv, which is committed, together with the
plan and the key that the answers belong to. Both are primary data: no stage ever writes them.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.people.human_study import (
    Plan,
    kept_plan,
    key_file,
    plan_file,
    read_key,
    read_plan,
    write_plan,
)

ANNOTATOR = re.compile(r"[A-Za-z0-9_-]{1,40}")
SIMULATED = "simulated-"  # begins the names of simulated annotators, and of nobody else
LONGEST_MS = 24 * 3600 * 1000
BUSY_S = 15.0  # how long a writer waits for the others
NOTHING = "none"  # in the CSV: no row was ticked
COLUMNS = ["plan", "annotator", "task", "rows", "milliseconds", "answered_at"]
UNIQUE = ["plan", "annotator", "task"]

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


@dataclass(frozen=True)
class Answer:
    """One annotator's answer to one task: the letters of the ticked rows in order, "" for none."""

    plan: str
    annotator: str
    task: str
    rows: str
    milliseconds: int
    answered_at: str = ""


def check_annotator(name: str) -> str:
    """Return a name of 1 to 40 letters, digits, - and _; raises InputError for any other."""
    if not ANNOTATOR.fullmatch(name):
        raise InputError("annotator: 1 to 40 letters, digits, - and _")
    return name


def check_answer(answer: Answer, plan: Plan) -> Answer:
    """Return an answer with its rows in order; raises InputError when the plan has no such task or row."""
    check_annotator(answer.annotator)
    if answer.plan != plan.id:
        raise InputError(f"plan {answer.plan}: the study goes on with plan {plan.id}; load the page again")
    if answer.task not in plan.tasks:
        raise InputError(f"task {answer.task!r}: not in the plan")
    rows = "".join(sorted(set(answer.rows)))
    unknown = sorted(set(rows) - plan.tasks[answer.task]["rows"].keys())
    if unknown or len(rows) != len(answer.rows):
        raise InputError(
            f"rows: task {answer.task} has {', '.join(plan.tasks[answer.task]['rows'])}, each once"
        )
    if not 0 <= answer.milliseconds <= LONGEST_MS:
        raise InputError(f"milliseconds: between 0 and {LONGEST_MS}")
    return Answer(answer.plan, answer.annotator, answer.task, rows, answer.milliseconds, answer.answered_at)


class AnswerStore:
    """Answers in one SQLite file; any number of threads and processes may write at once."""

    def __init__(self, path: Path):
        """Open the store at `path`, making it if needed; raises InputError when it is no such file."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._connection() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: no store of answers ({error}); move it away") from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # A connection of its own for every call: threads share nothing, and a kill leaves nothing open.
        with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")  # takes the lock now, so that reading and writing are one
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def record(self, answer: Answer, *, replace: bool = False) -> bool:
        """Keep an answer; return False when the very same one was there already (a double click).

        It is on the disk when this returns. A task that the annotator answered otherwise raises
        ConflictError, unless `replace`: the old answer is then kept among the undone ones.
        """
        unique = (answer.plan, answer.annotator, answer.task)
        with self._transaction() as connection:
            known = connection.execute(
                "SELECT rows FROM answers WHERE plan = ? AND annotator = ? AND task = ?", unique
            ).fetchone()
            if known and known[0] == answer.rows:
                return False
            if known and not replace:
                raise ConflictError(f"task {answer.task}: answered already, otherwise; undo that first")
            if known:
                self._take_back(connection, unique)
            when = answer.answered_at or now()
            connection.execute(
                f"INSERT INTO answers ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)",
                (*unique, answer.rows, answer.milliseconds, when),
            )
        return True

    def undo(self, *, plan: str, annotator: str, task: str) -> Answer | None:
        """Take back an annotator's last answer and return it.

        None, and nothing changes, when `task` is not the last one answered: a second click, or another tab.
        """
        with self._transaction() as connection:
            last = self._last(connection, plan, annotator)
            if last is None or last.task != task:
                return None
            self._take_back(connection, (plan, annotator, task))
            return last

    @staticmethod
    def _take_back(connection: sqlite3.Connection, unique: tuple[str, str, str]) -> None:
        where, columns = "plan = ? AND annotator = ? AND task = ?", ", ".join(COLUMNS)
        connection.execute(f"INSERT INTO undone SELECT {columns} FROM answers WHERE {where}", unique)
        connection.execute(f"DELETE FROM answers WHERE {where}", unique)

    @staticmethod
    def _last(connection: sqlite3.Connection, plan: str, annotator: str) -> Answer | None:
        row = connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM answers WHERE plan = ? AND annotator = ? "
            "ORDER BY number DESC LIMIT 1",
            (plan, annotator),
        ).fetchone()
        return Answer(*row) if row else None

    def progress(self, *, plan: str, annotator: str) -> tuple[set[str], Answer | None]:
        """Return (tasks that an annotator has answered, the last answer)."""
        with self._connection() as connection:
            found = connection.execute(
                "SELECT task FROM answers WHERE plan = ? AND annotator = ?", (plan, annotator)
            ).fetchall()
            return {task for (task,) in found}, self._last(connection, plan, annotator)

    def count_by_plan(self) -> dict[str, int]:
        """Return plan -> number of answers."""
        with self._connection() as connection:
            return dict(connection.execute("SELECT plan, count(*) FROM answers GROUP BY plan").fetchall())

    def table(self, *, name: str = "answers") -> pd.DataFrame:
        """Return all answers (or those `undone`) in the order they came in, columns COLUMNS."""
        order = " ORDER BY number" if name == "answers" else ""
        with self._connection() as connection:
            rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM {name}{order}").fetchall()
        return pd.DataFrame(rows, columns=COLUMNS)


def now() -> str:
    """Return the time in UTC to the millisecond, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# --- CSV -------------------------------------------------------------------------------------------------


def write_answers(path: Path, answers: pd.DataFrame) -> None:
    """Write answers (columns COLUMNS) as CSV, sorted, so that a diff shows what was added; "" as `none`."""
    shown = answers.assign(rows=answers["rows"].replace("", NOTHING))
    files.write_table(path, shown.sort_values(UNIQUE, ignore_index=True)[COLUMNS])


def read_answers(path: Path) -> pd.DataFrame:
    """Return the answers of a CSV (columns COLUMNS); raises InputError that names file and line."""
    try:
        table = files.read_table(path, made_by="answers export", dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a table of answers ({error})") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}")
    rows = table["rows"].replace(NOTHING, "")
    faults = {
        "rows": ~rows.str.fullmatch(r"[A-I]*"),
        "annotator": ~table["annotator"].str.fullmatch(ANNOTATOR.pattern),
        "milliseconds": ~table["milliseconds"].str.fullmatch(r"\d{1,8}"),
        "task (answered twice)": table.duplicated(UNIQUE),
    }
    for name, wrong in faults.items():
        if wrong.any():
            raise InputError(f"{path}, line {int(wrong.to_numpy().argmax()) + 2}: {name} cannot be")
    return table.assign(rows=rows, milliseconds=table["milliseconds"].astype(int))[COLUMNS]


def merged(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all answers, each once; of two to the same task by the same annotator the later one stands."""
    every = pd.concat(tables, ignore_index=True)
    every = every.sort_values("answered_at", kind="stable").drop_duplicates(UNIQUE, keep="last")
    return every.sort_values(UNIQUE, ignore_index=True)


# --- export ----------------------------------------------------------------------------------------------


def export(paths: Paths) -> list[Path]:
    """Bring the store into data/answers/<profile>.csv, plan and key beside it; return what was written.

    Answers that lie there already stay, but for those taken back since. Also writes Label Studio's JSON to
    runs/<profile>/label_studio/. Raises InputError without a store, or when its answers are not all to the
    plan in runs/<profile>/.
    """
    if not paths.answer_store.is_file():
        raise InputError(f"{paths.answer_store}: no answers yet; `make app` serves the study")
    plan = read_plan(plan_file(paths.human_study))
    key = read_key(key_file(paths.human_study), plan=plan)
    store = AnswerStore(paths.answer_store)
    found, undone = store.table(), store.table(name="undone")
    tables = [found]
    if paths.answers.is_file():
        kept = read_answers(paths.answers)
        gone = set(undone[[*UNIQUE, "answered_at"]].itertuples(index=False, name=None))
        lines = kept[[*UNIQUE, "answered_at"]].itertuples(index=False, name=None)
        tables.insert(0, kept[[line not in gone for line in lines]])
    answers = merged(tables)
    check_plan(answers, plan, where=paths.answer_store)
    plan_path, key_path = kept_plan(paths)
    write_plan(plan, key, plan_path=plan_path, key_path=key_path)
    write_answers(paths.answers, answers)
    written = [paths.answers, plan_path, key_path]
    return [*written, *write_label_studio(paths.label_studio, answers, plan)]


def check_plan(answers: pd.DataFrame, plan: Plan, *, where: Path) -> None:
    """Raise InputError when an answer is to another plan, or to a task or row that the plan has not."""
    for line in answers.to_dict("records"):
        try:
            check_answer(Answer(**{name: line[name] for name in COLUMNS}), plan)
        except InputError as error:
            raise InputError(f"{where}: {line['annotator']}, {line['task']}: {error}") from error


def merge_files(paths: Paths, others: Sequence[Path]) -> int:
    """Add the answers of other CSV files, say from other machines, to the committed ones; return how many."""
    kept_path, _ = kept_plan(paths)
    plan = read_plan(kept_path if kept_path.is_file() else plan_file(paths.human_study))
    tables = [read_answers(path) for path in others]
    for path, table in zip(others, tables, strict=True):
        check_plan(table, plan, where=path)
    before = [read_answers(paths.answers)] if paths.answers.is_file() else []
    answers = merged([*before, *tables])
    if not kept_path.is_file():
        key = read_key(key_file(paths.human_study), plan=plan)
        write_plan(plan, key, plan_path=kept_path, key_path=kept_plan(paths)[1])
    write_answers(paths.answers, answers)
    return len(answers) - sum(map(len, before))


# --- Label Studio ----------------------------------------------------------------------------------------


def label_studio_tasks(answers: pd.DataFrame, plan: Plan, *, photo_url: str) -> list[dict[str, Any]]:
    """Return answers in Label Studio's JSON: a task with its annotations, each a `choices` result.

    `photo_url` holds `{number}`. Label Studio's own annotators are its users, so a name from here stands in
    the result's `meta`; an answer of no row is the choice "none".
    """
    tasks = []
    for number, (task, shown) in enumerate(plan.tasks.items(), start=1):
        rows = {
            f"row_{row}": [photo_url.format(number=photo) for photo in photos]
            for row, photos in shown["rows"].items()
        }
        data = {"task": task, "plan": plan.id, "query": photo_url.format(number=shown["query"]), **rows}
        mine = answers[(answers["task"] == task) & (answers["plan"] == plan.id)]
        annotations = [_annotation(line) for line in mine.to_dict("records")]
        tasks.append({"id": number, "data": data, "annotations": annotations})
    return tasks


def _annotation(line: dict[str, Any]) -> dict[str, Any]:
    result = {
        "id": f"{line['annotator']}-{line['task']}", "from_name": "rows", "to_name": "query",
        "type": "choices", "value": {"choices": list(line["rows"]) or [NOTHING]},
        "meta": {"text": [line["annotator"]]},
    }  # fmt: skip
    return {
        "result": [result], "was_cancelled": False, "ground_truth": False,
        "lead_time": line["milliseconds"] / 1000, "created_at": line["answered_at"],
    }  # fmt: skip


def label_studio_config(plan: Plan) -> str:
    """Return the labelling configuration that the exported tasks belong to."""
    letters = sorted({row for shown in plan.tasks.values() for row in shown["rows"]})
    rows = [f'  <Image name="row_{row}" valueList="$row_{row}"/>' for row in letters]
    choices = [f'    <Choice value="{value}"/>' for value in (*letters, NOTHING)]
    lines = ['  <Image name="query" value="$query"/>', *rows]
    lines += ['  <Choices name="rows" toName="query" choice="multiple">', *choices, "  </Choices>"]
    return "\n".join(["<View>", *lines, "</View>"]) + "\n"


def write_label_studio(folder: Path, answers: pd.DataFrame, plan: Plan) -> list[Path]:
    """Write tasks.json and the configuration config.xml that it belongs to; return their paths."""
    tasks = label_studio_tasks(answers, plan, photo_url="/photo/{number}")
    target = folder / "tasks.json"
    files.write_text(target, json.dumps(tasks, indent=1) + "\n")
    config = folder / "config.xml"
    files.write_text(config, label_studio_config(plan))
    return [target, config]


# --- the command -----------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the answers of a profile, merge those of other machines, or count them."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.people.answers", description=main.__doc__)
    parser.add_argument("what", choices=("export", "merge", "count"))
    parser.add_argument("profile")
    parser.add_argument("csv", nargs="*", type=Path, help="for merge: CSV files exported elsewhere")
    chosen = parser.parse_args(arguments)

    def work() -> None:
        paths = Paths.of(chosen.profile)
        if chosen.what == "export":
            for path in export(paths):
                print(path.relative_to(paths.root).as_posix())
        elif chosen.what == "merge":
            print(f"{merge_files(paths, chosen.csv)} answers added to {paths.answers.name}")
        else:
            counts = AnswerStore(paths.answer_store).count_by_plan() if paths.answer_store.is_file() else {}
            print(
                "\n".join(f"plan {plan}: {count} answers" for plan, count in counts.items()) or "no answers"
            )

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
