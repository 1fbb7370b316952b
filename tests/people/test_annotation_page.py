"""The study's server: what it shows, what it refuses, and that a SIGKILL costs nothing acknowledged."""

import json
import re
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from study_world import LABELS, MODELS, RESAMPLES, Server, settings, write_small_plan

from solesearch.core.paths import Paths
from solesearch.people import annotation_page, answers, human_study, study_analysis
from solesearch.people.simulated_annotators import simulate


@pytest.fixture
def paths(workspace) -> Paths:
    found = Paths.of("smoke")
    write_small_plan(found)
    return found


@pytest.fixture
def client(paths: Paths) -> TestClient:
    app = FastAPI()
    annotation_page.attach(app, paths=paths, photo_url="/photo/{}".format)
    return TestClient(app, raise_server_exceptions=False)


def answer(task: str = "t001", **changes) -> dict:
    fine = {"annotator": "ann", "plan": "p1an", "task": task, "rows": ["A"], "milliseconds": 1200}
    return {**fine, **changes}


def test_page_is_self_contained(client: TestClient) -> None:
    reply = client.get("/study/")
    assert reply.status_code == 200 and "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(""", reply.text)
    assert client.get("/study", follow_redirects=False).headers["location"] == "study/"


def test_tasks_come_in_order_and_name_nothing(client: TestClient) -> None:
    state = client.get("/study/next", params={"annotator": "ann"}).json()
    assert (state["task"], state["answered"], state["total"], state["last"]) == ("t001", 0, 11, None)
    for number in range(1, 12):
        task = f"t{number:03d}"
        assert state["task"] == task
        assert state["query"].startswith("/photo/") and len(state["rows"]) in (3, 4)
        assert [row["row"] for row in state["rows"]] == list("ABCD"[: len(state["rows"])])
        text = json.dumps(state)
        assert not [word for word in [*LABELS, *(name for name, _ in MODELS), "attention"] if word in text]
        state = client.post("/study/answer", json=answer(task)).json()
        assert (state["answered"], state["last"]) == (number, task)
    assert state["task"] is None
    other = client.get("/study/next", params={"annotator": "bo"}).json()
    assert other["task"] == "t001" and other["answered"] == 0


def test_double_click_and_another_tab(client: TestClient, paths: Paths) -> None:
    for _ in range(3):
        assert client.post("/study/answer", json=answer()).json()["task"] == "t002"
    reply = client.post("/study/answer", json=answer(rows=["B"]))
    assert reply.status_code == 409 and "answered already" in reply.json()["detail"]
    assert answers.AnswerStore(paths.answer_store).table()["rows"].tolist() == ["A"]


def test_undo_shows_the_task_again_with_its_ticks(client: TestClient, paths: Paths) -> None:
    client.post("/study/answer", json=answer())
    client.post("/study/answer", json=answer("t002", rows=["B", "C"]))
    sent = {"annotator": "ann", "plan": "p1an", "task": "t002"}
    for ticked in (["B", "C"], []):  # the second click takes nothing back
        state = client.post("/study/undo", json=sent).json()
        assert (state["task"], state["ticked"], state["last"]) == ("t002", ticked, "t001")
    assert client.post("/study/answer", json=answer("t002", rows=[])).json()["answered"] == 2
    assert answers.AnswerStore(paths.answer_store).table()["rows"].tolist() == ["A", ""]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"annotator": "a b"}, 422, "annotator"),
        ({"annotator": "../x"}, 422, "annotator"),
        ({"annotator": "ann\n"}, 422, "annotator"),
        ({"annotator": "Simulated-01"}, 422, "simulated annotators"),
        ({"annotator": 7}, 422, "annotator"),
        ({"task": "t999"}, 422, "not in the plan"),
        ({"plan": "old"}, 409, "planned anew"),
        ({"rows": ["Z"]}, 422, "rows"),
        ({"rows": ["A", "A"]}, 422, "each once"),
        ({"rows": ["AB"]}, 422, "one letter each"),
        ({"rows": "A"}, 422, "rows"),
        ({"milliseconds": -1}, 422, "milliseconds"),
        ({"milliseconds": 1.5}, 422, "milliseconds"),
        ({"milliseconds": True}, 422, "milliseconds"),
        ({"model": "hog"}, 422, "model"),
    ],
)
def test_everything_sent_is_checked(
    client: TestClient, paths: Paths, change: dict, status: int, words: str
) -> None:
    reply = client.post("/study/answer", json=answer(**change))
    assert reply.status_code == status and words in reply.json()["detail"], reply.text
    assert len(reply.json()["detail"].splitlines()) == 1
    assert answers.AnswerStore(paths.answer_store).table().empty


def test_bodies_are_limited_and_must_be_json(client: TestClient) -> None:
    def send(body: bytes, kind: str = "application/json") -> tuple[int, str]:
        reply = client.post("/study/answer", content=body, headers={"Content-Type": kind})
        return reply.status_code, reply.json()["detail"]

    assert send(b"{", "application/json")[0] == 422
    assert send(b"", "application/json")[0] == 422
    assert send(json.dumps(answer()).encode(), "text/plain")[0] == 415
    assert send(json.dumps(answer()).encode(), "application/x-www-form-urlencoded")[0] == 415
    assert send(b" " * 5000)[0] == 413
    chunks = (b" " * 1000 for _ in range(50))  # without a length, as a stream
    reply = client.post("/study/answer", content=chunks, headers={"Content-Type": "application/json"})
    assert reply.status_code == 413


@pytest.mark.parametrize("name", ["", "a b", "x" * 41, "%00", "simulated-01"])
def test_impossible_names_get_no_task(client: TestClient, name: str) -> None:
    assert client.get("/study/next", params={"annotator": name}).status_code == 422


def test_without_a_plan_the_page_says_so_and_takes_it_up_later(workspace) -> None:
    app, found = FastAPI(), Paths.of("smoke")
    annotation_page.attach(app, paths=found, photo_url=str)
    with TestClient(app) as client:
        assert client.get("/study/").status_code == 200
        reply = client.get("/study/next", params={"annotator": "ann"})
        assert reply.status_code == 404 and "make repro" in reply.json()["detail"]
        write_small_plan(found)
        assert client.get("/study/next", params={"annotator": "ann"}).json()["task"] == "t001"


def test_the_key_is_never_needed(client: TestClient, paths: Paths) -> None:
    human_study.key_file(paths.human_study).unlink()
    assert client.post("/study/answer", json=answer()).status_code == 200


@pytest.mark.parametrize("source", ["simulated", "people"])
def test_results_say_who_answered(client: TestClient, paths: Paths, source: str) -> None:
    assert "No analysis yet" in client.get("/study/results").text
    plan = human_study.read_plan(human_study.plan_file(paths.human_study))
    key = human_study.read_key(human_study.key_file(paths.human_study), plan=plan)
    table = simulate(key, k=3, settings=settings()).replace({"annotator": {"simulated-01": "a<b>"}})
    rules = settings(most_failed_checks=0.0)
    tables = study_analysis.study_tables(table, key, source=source, settings=rules, resampling=RESAMPLES)
    annotators = tables["human_study_annotators"]
    tables["human_study_annotators"] = annotators.assign(reason="why <i>", kept=False)
    study_analysis.write_study(paths, tables)
    text = client.get("/study/results").text
    assert ("SIMULATED" in text) == (source == "simulated") and text.count("(simulated)") in (0, 3)
    assert "InfoGAN (proposed)" in text and "prints no result" in text
    assert "a&lt;b&gt;" in text and "<i>" not in text and "why &lt;i&gt;" in text


def test_served_photos_are_the_decoded_pixels(paths: Paths) -> None:
    import io

    from PIL import Image

    client = TestClient(annotation_page.study_app(paths))
    with Image.open(io.BytesIO(client.get("/photo/5").content)) as image:
        assert np.array_equal(np.asarray(image), np.load(paths.pixels)[5])
    for number in ("24", "-1", "x", "../params.yaml"):
        assert client.get(f"/photo/{number}").status_code in (404, 422)


# --- a real server ---------------------------------------------------------------------------------------


def post(server: Server, sent: dict) -> dict:
    request = urllib.request.Request(
        f"{server.address}/study/answer",
        json.dumps(sent).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)


def stream(server: Server, name: str, acknowledged: list, stop: threading.Event) -> None:
    """Answer tasks one after another, and note each acknowledgement, until the server dies."""
    for number in range(1, 12):
        sent = answer(f"t{number:03d}", annotator=name, rows=["ABC"[number % 3]])
        try:
            post(server, sent)
        except (OSError, urllib.error.URLError):
            return
        acknowledged.append((name, sent["task"], sent["rows"][0]))
        if len(acknowledged) >= 20:
            stop.set()


@pytest.mark.slow
def test_sigkill_in_the_middle_of_answers_loses_nothing_acknowledged(paths: Paths) -> None:
    server, acknowledged, enough = Server(paths.root).start(), [], threading.Event()
    writers = [
        threading.Thread(target=stream, args=(server, f"annotator-{number}", acknowledged, enough))
        for number in range(10)
    ]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    server.kill()
    for writer in writers:
        writer.join(30)
    assert 20 <= len(acknowledged) < 110, "killed in the middle, not before or after"
    table = answers.AnswerStore(paths.answer_store).table()
    kept = list(table[["annotator", "task", "rows"]].itertuples(index=False, name=None))
    assert len(set(kept)) == len(kept) and set(acknowledged) <= set(kept)
    server.start()
    try:
        for number in range(10):
            for task in range(1, 12):  # all again: what was there is not counted twice
                rows = ["ABC"[task % 3]]
                post(server, answer(f"t{task:03d}", annotator=f"annotator-{number}", rows=rows))
    finally:
        server.kill()
    table = answers.AnswerStore(paths.answer_store).table()
    assert len(table) == 110 == len(table.drop_duplicates(answers.UNIQUE))
