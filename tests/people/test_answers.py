"""The store loses nothing and counts nothing twice; exports say what was ticked."""

import json
import multiprocessing
import sqlite3
from xml.etree import ElementTree

import pandas as pd
import pytest
from study_world import write_small_plan

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.people import answers, human_study
from solesearch.people.answers import Answer, AnswerStore, ConflictError

WRITERS, TASKS = 10, 25


@pytest.fixture
def store(tmp_path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers.sqlite")


def given(task: str = "t001", rows: str = "A", *, annotator: str = "ann", milliseconds: int = 900) -> Answer:
    return Answer("p1an", annotator, task, rows, milliseconds)


def write_many(path, annotator: str, barrier) -> None:
    """Answer every task twice at once with all others, as a nervous finger does."""
    store = AnswerStore(path)
    barrier.wait()
    for number in range(TASKS):
        for _ in range(2):
            store.record(given(f"t{number:03d}", "AC", annotator=annotator, milliseconds=number))


def test_ten_annotators_at_once_lose_nothing_and_count_nothing_twice(tmp_path) -> None:
    path, fork = tmp_path / "answers.sqlite", multiprocessing.get_context("fork")
    barrier = fork.Barrier(WRITERS)
    names = [f"annotator-{number}" for number in range(WRITERS)]
    writers = [fork.Process(target=write_many, args=(path, name, barrier)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    table = AnswerStore(path).table()
    assert len(table) == WRITERS * TASKS == len(table.drop_duplicates(answers.UNIQUE))
    assert table.groupby("annotator").size().to_dict() == dict.fromkeys(names, TASKS)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def race(path, rows: str, barrier, queue) -> None:
    store = AnswerStore(path)
    barrier.wait()
    try:
        queue.put((rows, store.record(given(rows=rows))))
    except ConflictError:
        queue.put((rows, None))


def test_two_tabs_that_disagree_leave_one_answer(tmp_path) -> None:
    path, fork = tmp_path / "answers.sqlite", multiprocessing.get_context("fork")
    barrier, queue = fork.Barrier(2), fork.Queue()
    tabs = [fork.Process(target=race, args=(path, rows, barrier, queue)) for rows in ("A", "B")]
    for tab in tabs:
        tab.start()
    said = dict(queue.get(timeout=60) for _ in tabs)
    for tab in tabs:
        tab.join(60)
    assert sorted(said.values(), key=str) == [None, True]
    [kept] = [rows for rows, word in said.items() if word]
    assert AnswerStore(path).table()["rows"].tolist() == [kept]


def test_double_click_is_acknowledged_and_counts_once(store) -> None:
    assert store.record(given(milliseconds=900)) is True
    assert store.record(given(milliseconds=950)) is False
    assert store.table()["milliseconds"].tolist() == [900]
    with pytest.raises(ConflictError, match="t001: answered already"):
        store.record(given(rows="B"))


def test_replace_keeps_the_old_answer_among_the_undone(store) -> None:
    store.record(given(rows="A"))
    assert store.record(given(rows="BC"), replace=True) is True
    assert store.table()["rows"].tolist() == ["BC"]
    assert store.table(name="undone")["rows"].tolist() == ["A"]


def test_undo_takes_the_last_answer_back_once(store) -> None:
    for task in ("t001", "t002"):
        store.record(given(task))
    assert store.undo(plan="p1an", annotator="ann", task="t001") is None  # not the last one
    assert store.undo(plan="p1an", annotator="ann", task="t002").task == "t002"
    assert store.undo(plan="p1an", annotator="ann", task="t002") is None  # the second click
    assert store.undo(plan="p1an", annotator="eve", task="t001") is None
    done, last = store.progress(plan="p1an", annotator="ann")
    assert done == {"t001"} and last.task == "t001"
    assert store.progress(plan="p1an", annotator="eve") == (set(), None)
    assert store.table(name="undone")["task"].tolist() == ["t002"]


def test_a_failing_writer_changes_nothing(store, monkeypatch) -> None:
    store.record(given(rows="A"))
    with pytest.raises(sqlite3.IntegrityError):
        store.record(Answer("p1an", "ann", "t001", "B", None), replace=True)  # fails after the deletion
    assert store.table()["rows"].tolist() == ["A"]
    assert store.table(name="undone").empty


def test_a_file_that_is_no_store_is_named(tmp_path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_text("plan,annotator\n" * 100)
    with pytest.raises(InputError, match=r"answers\.sqlite: no store of answers"):
        AnswerStore(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotator": "a b"}, "annotator"),
        ({"annotator": ""}, "annotator"),
        ({"annotator": "x" * 41}, "annotator"),
        ({"annotator": "ann\n"}, "annotator"),
        ({"plan": "old"}, "goes on with plan p1an"),
        ({"task": "t999"}, "not in the plan"),
        ({"rows": "Z"}, "rows: task t001 has A, B, C"),
        ({"rows": "AA"}, "each once"),
        ({"milliseconds": -1}, "milliseconds"),
    ],
)
def test_impossible_answer_is_refused(workspace, change: dict, words: str) -> None:
    plan, _ = write_small_plan(Paths.of("smoke"))
    with pytest.raises(InputError, match=words):
        answers.check_answer(Answer(**{**vars(given()), **change}), plan)
    assert answers.check_answer(given(rows="CA"), plan).rows == "AC"


def fill_store(paths: Paths) -> AnswerStore:
    store = AnswerStore(paths.answer_store)
    for annotator, task, rows in (("bo", "t002", ""), ("ann", "t001", "AC"), ("ann", "t002", "B")):
        store.record(given(task, rows, annotator=annotator, milliseconds=1500))
    return store


def test_export_writes_answers_plan_and_key(workspace, capsys) -> None:
    paths = Paths.of("smoke")
    plan, key = write_small_plan(paths)
    store = fill_store(paths)
    assert answers.main(["export", "smoke"]) == 0
    assert "data/answers/smoke.csv" in capsys.readouterr().out.splitlines()
    lines = paths.answers.read_text().splitlines()
    assert lines[0] == "plan,annotator,task,rows,milliseconds,answered_at"
    assert [line.split(",")[1:5] for line in lines[1:]] == [
        ["ann", "t001", "AC", "1500"], ["ann", "t002", "B", "1500"], ["bo", "t002", "none", "1500"],
    ]  # fmt: skip
    plan_path, key_path = human_study.kept_plan(paths)
    assert human_study.read_plan(plan_path) == plan
    pd.testing.assert_frame_equal(human_study.read_key(key_path, plan=plan), key)
    before = paths.answers.read_bytes()
    answers.export(paths)
    assert paths.answers.read_bytes() == before
    store.undo(plan=plan.id, annotator="ann", task="t002")
    answers.export(paths)
    assert len(answers.read_answers(paths.answers)) == 2  # what was taken back since is gone, too


def test_export_adds_to_what_was_committed_and_the_later_answer_stands(workspace) -> None:
    paths = Paths.of("smoke")
    write_small_plan(paths)
    fill_store(paths)
    old = pd.DataFrame(
        [("p1an", "ann", "t001", "B", 1, "2020-01-01T00:00:00.000+00:00"),
         ("p1an", "cy", "t001", "", 7, "2020-01-01T00:00:00.000+00:00")],
        columns=answers.COLUMNS,
    )  # fmt: skip
    answers.write_answers(paths.answers, old)
    answers.export(paths)
    table = answers.read_answers(paths.answers).set_index(["annotator", "task"])
    assert table.loc[("ann", "t001"), "rows"] == "AC"
    assert table.loc[("cy", "t001"), "rows"] == "" and len(table) == 4


def test_merge_brings_in_another_machine(workspace, tmp_path, capsys) -> None:
    paths = Paths.of("smoke")
    write_small_plan(paths)
    fill_store(paths)
    answers.export(paths)
    there = pd.DataFrame([("p1an", "dee", "t003", "A", 5, "2026-01-01")], columns=answers.COLUMNS)
    answers.write_answers(tmp_path / "there.csv", there)
    assert answers.main(["merge", "smoke", str(tmp_path / "there.csv")]) == 0
    assert answers.main(["merge", "smoke", str(tmp_path / "there.csv")]) == 0
    out = capsys.readouterr().out
    assert "1 answers added" in out and "0 answers added" in out
    assert len(answers.read_answers(paths.answers)) == 4
    answers.write_answers(tmp_path / "there.csv", there.assign(plan="other"))
    assert answers.main(["merge", "smoke", str(tmp_path / "there.csv")]) == 1
    assert "there.csv: dee, t003: plan other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",AC,", ",AZ,", "line 2: rows"),
        ("ann,t001", "a n,t001", "line 2: annotator"),
        (",1500,", ",-5,", "line 2: milliseconds"),
        ("t002,B", "t001,B", r"line 3: task \(answered twice\)"),
        ("annotator,", "who,", "lacks the columns annotator"),
    ],
)
def test_damaged_csv_is_named(workspace, old: str, new: str, words: str) -> None:
    paths = Paths.of("smoke")
    write_small_plan(paths)
    fill_store(paths)
    answers.export(paths)
    text = paths.answers.read_text()
    assert old in text
    files.write_text(paths.answers, text.replace(old, new, 1))
    with pytest.raises(InputError, match=rf"smoke\.csv.*{words}"):
        answers.read_answers(paths.answers)


def test_label_studio_tasks_hold_every_answer(workspace) -> None:
    paths = Paths.of("smoke")
    plan, _ = write_small_plan(paths)
    fill_store(paths)
    answers.export(paths)
    tasks = json.loads((paths.label_studio / "tasks.json").read_text())
    assert len(tasks) == len(plan.tasks)
    second = tasks[1]
    assert second["data"]["query"] == f"/photo/{plan.tasks['t002']['query']}"
    assert second["data"]["row_A"] == [f"/photo/{photo}" for photo in plan.tasks["t002"]["rows"]["A"]]
    said = {one["result"][0]["meta"]["text"][0]: one for one in second["annotations"]}
    assert said["ann"]["result"][0]["value"] == {"choices": ["B"]}
    assert said["bo"]["result"][0]["value"] == {"choices": ["none"]}
    assert said["bo"]["lead_time"] == 1.5
    config = ElementTree.fromstring((paths.label_studio / "config.xml").read_text())
    names = {tag.get("name") for tag in config.iter() if tag.get("name")}
    result = said["ann"]["result"][0]
    assert {result["from_name"], result["to_name"]} <= names
    assert {f"row_{row}" for shown in plan.tasks.values() for row in shown["rows"]} <= names
    values = {tag.get("value") for tag in config.iter("Choice")}
    assert {"A", "B", "C", "D", "none"} == values


def test_export_without_answers_says_so(workspace, capsys) -> None:
    assert answers.main(["export", "smoke"]) == 1
    assert "smoke.sqlite: no answers yet" in capsys.readouterr().err
    assert answers.main(["count", "smoke"]) == 0
    assert capsys.readouterr().out == "no answers\n"


def test_store_is_kept_from_git_and_dvc(repository) -> None:
    assert "/data/answers/*.sqlite*" in (repository / ".gitignore").read_text().splitlines()
    assert "*.sqlite*" in (repository / ".dvcignore").read_text().splitlines()
    assert "data/answers" not in (repository / "data.dvc").read_text()
