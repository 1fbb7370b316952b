"""The store loses nothing and counts nothing twice; exports say what was ticked."""

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from study_world import given, write_small_plan

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.people import answers
from solesearch.people.answers import AnswerStore, ConflictError
from solesearch.people.human_study import PlanFiles

WRITERS, TASKS = 10, 25


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers.sqlite")


def write_many(path: Path, annotator: str) -> None:
    """Answer every task twice at once with all others, as a nervous finger does."""
    store = AnswerStore(path)
    for number in range(TASKS):
        for _ in range(2):
            store.record(given(f"t{number:03d}", "AC", annotator=annotator, milliseconds=number))


def test_ten_annotators_at_once_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    path, names = tmp_path / "answers.sqlite", [f"annotator-{number}" for number in range(WRITERS)]
    with ProcessPoolExecutor(WRITERS, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(write_many, [path] * WRITERS, names))
    table = AnswerStore(path).table()
    assert len(table) == WRITERS * TASKS == len(table.drop_duplicates(answers.UNIQUE))
    assert table.groupby("annotator").size().to_dict() == dict.fromkeys(names, TASKS)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_double_click_counts_once_and_another_answer_is_refused(store: AnswerStore) -> None:
    assert store.record(given(milliseconds=900)) is True
    assert store.record(given(milliseconds=950)) is False
    with pytest.raises(ConflictError, match="t001: answered already"):
        store.record(given(rows="B"))
    assert store.table()["milliseconds"].tolist() == [900]


def test_undo_takes_the_last_answer_back_once(store: AnswerStore) -> None:
    for task in ("t001", "t002"):
        store.record(given(task))
    assert store.undo(given("t001")) is None  # not the last one
    assert store.undo(given("t002")).task == "t002"
    assert store.undo(given("t002")) is None  # the second click
    assert store.undo(given("t001", annotator="eve")) is None
    assert [answer.task for answer in store.given(plan="p1an", annotator="ann")] == ["t001"]
    assert store.table("undone")["task"].tolist() == ["t002"]


def test_a_failing_writer_changes_nothing(store: AnswerStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.record(given().model_copy(update={"milliseconds": None}))
    assert store.table().empty
    assert store.record(given()) is True  # the lock is free again


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_text("plan,annotator\n" * 100)
    with pytest.raises(InputError, match=r"answers\.sqlite: no store of answers"):
        AnswerStore(path)


@pytest.fixture
def paths(workspace: Path) -> Paths:
    """A project with a plan and three answers in its store."""
    found = Paths.of("smoke")
    write_small_plan(found)
    store = AnswerStore(found.answer_store)
    for annotator, task, rows in (("bo", "t002", ""), ("ann", "t001", "CA"), ("ann", "t002", "B")):
        store.record(given(task, rows, annotator=annotator, milliseconds=1500))
    return found


def test_export_writes_answers_plan_and_key(paths: Paths, capsys: pytest.CaptureFixture) -> None:
    plan, key = PlanFiles.shown(paths).read()
    assert answers.main(["export", "smoke"]) == 0
    assert "data/answers/smoke.csv" in capsys.readouterr().out.splitlines()
    lines = paths.answers.read_text().splitlines()
    assert lines[0] == "plan,annotator,task,rows,milliseconds,answered_at"
    assert [line.split(",")[1:5] for line in lines[1:]] == [
        ["ann", "t001", "AC", "1500"], ["ann", "t002", "B", "1500"], ["bo", "t002", "none", "1500"],
    ]  # fmt: skip
    assert PlanFiles.kept(paths).read()[0] == plan and PlanFiles.kept(paths).read()[1].equals(key)
    before = paths.answers.read_bytes()
    answers.export(paths)
    assert paths.answers.read_bytes() == before
    AnswerStore(paths.answer_store).undo(given("t002"))
    answers.export(paths)
    assert len(answers.read_answers(paths.answers, plan)) == 2  # what was taken back since is gone, too


def test_export_adds_to_what_was_committed_and_the_later_answer_stands(paths: Paths) -> None:
    plan, _ = PlanFiles.shown(paths).read()
    old = [("p1an", "ann", "t001", "B", 1, "2020-01-01"), ("p1an", "cy", "t001", "", 7, "2020-01-01")]
    answers.write_answers(paths.answers, [pd.DataFrame(old, columns=answers.COLUMNS)])
    answers.export(paths)
    table = answers.read_answers(paths.answers, plan).set_index(["annotator", "task"])
    assert table.loc[("ann", "t001"), "rows"] == "AC"
    assert table.loc[("cy", "t001"), "rows"] == "" and len(table) == 4


def test_merge_brings_in_another_machine(paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    answers.export(paths)
    there = pd.DataFrame([("p1an", "dee", "t003", "A", 5, "2026-01-01")], columns=answers.COLUMNS)
    for table, status, words in [
        (there, 0, "1 answers added"),
        (there, 0, "0 answers added"),
        (there.assign(plan="other"), 1, "there.csv, line 2: plan other"),
    ]:
        answers.write_answers(tmp_path / "there.csv", [table])
        assert answers.main(["merge", "smoke", str(tmp_path / "there.csv")]) == status
        assert words in "".join(capsys.readouterr())
    assert answers.main(["merge", "smoke"]) == 1 and "name the CSV files" in capsys.readouterr().err


def test_a_damaged_csv_is_named(paths: Paths) -> None:
    plan, _ = PlanFiles.shown(paths).read()
    answers.export(paths)
    text = paths.answers.read_text()
    for old, new, words in [
        (",AC,", ",AZ,", "line 2: rows"),
        (",AC,", ",AI,", "line 2: rows: task t001 has A, B, C"),
        ("ann,t001", "ann,t999", "line 2: task 't999': not in the plan"),
        (",1500,", ",-5,", "line 2: milliseconds"),
        ("t002,B", "t001,B", "line 3: task t001 is answered twice"),
        ("annotator,", "who,", "line 2: annotator"),
    ]:
        files.write_text(paths.answers, text.replace(old, new, 1))
        with pytest.raises(InputError, match=rf"smoke\.csv, {words}"):
            answers.read_answers(paths.answers, plan)


def test_without_answers_the_command_says_so(workspace: Path, capsys: pytest.CaptureFixture) -> None:
    assert answers.main(["export", "smoke"]) == 1
    assert "smoke.sqlite: no answers yet" in capsys.readouterr().err


def test_the_store_is_kept_from_git_and_dvc(repository: Path) -> None:
    assert "/data/answers/*.sqlite*" in (repository / ".gitignore").read_text().splitlines()
    assert "*.sqlite*" in (repository / ".dvcignore").read_text().splitlines()
    assert "data/answers" not in (repository / "data.dvc").read_text()
