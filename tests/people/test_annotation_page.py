"""The study's server: what it shows, what it refuses, and that a SIGKILL costs nothing acknowledged."""

import io
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from study_world import LABELS, MODELS, RESAMPLES, Server, settings, write_small_plan

from solesearch.core import files
from solesearch.core.paths import Paths
from solesearch.people import annotation_page, answers, study_analysis
from solesearch.people.human_study import PlanFiles
from solesearch.people.simulated_annotators import simulate


@pytest.fixture
def paths(workspace: Path) -> Paths:
    found = Paths.of("smoke")
    write_small_plan(found)
    return found


@pytest.fixture
def client(paths: Paths) -> TestClient:
    return TestClient(annotation_page.study_app(paths.profile), raise_server_exceptions=False)


def answer(task: str = "t001", **changes) -> dict:
    fine = {"annotator": "ann", "plan": "p1an", "task": task, "rows": ["A"], "milliseconds": 1200}
    return {**fine, **changes}


def kept(paths: Paths) -> list[str]:
    return answers.AnswerStore(paths.answer_store).table()["rows"].tolist()


def test_the_page_is_self_contained(client: TestClient) -> None:
    reply = client.get("/study/")
    assert reply.status_code == 200 and "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|url\(""", reply.text)
    assert client.get("/study").url.path == "/study/"


def test_tasks_come_in_order_and_name_nothing(client: TestClient, paths: Paths) -> None:
    PlanFiles.shown(paths).key.unlink()  # the server never needs it
    state = client.get("/study/next", params={"annotator": "ann"}).json()
    assert (state["task"], state["answered"], state["total"], state["last"]) == ("t001", 0, 11, None)
    for number in range(1, 12):
        task = f"t{number:03d}"
        assert state["task"] == task and state["query"].startswith("/photo/")
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
    assert kept(paths) == ["A"]


def test_undo_shows_the_task_again_with_its_ticks(client: TestClient, paths: Paths) -> None:
    client.post("/study/answer", json=answer())
    client.post("/study/answer", json=answer("t002", rows=["B", "C"]))
    sent = {"annotator": "ann", "plan": "p1an", "task": "t002"}
    for ticked in (["B", "C"], []):  # the second click takes nothing back
        state = client.post("/study/undo", json=sent).json()
        assert (state["task"], state["ticked"], state["last"]) == ("t002", ticked, "t001")
    assert client.post("/study/answer", json=answer("t002", rows=[])).json()["answered"] == 2
    assert kept(paths) == ["A", ""]


def test_everything_sent_is_checked(client: TestClient, paths: Paths) -> None:
    for change, status, words in [
        ({"annotator": "../x"}, 422, "annotator"),
        ({"annotator": "Simulated-01"}, 422, "simulated annotators"),
        ({"task": "t999"}, 422, "not in the plan"),
        ({"plan": "old"}, 409, "planned anew"),
        ({"rows": ["I"]}, 422, "rows: task t001 has A, B, C"),
        ({"rows": ["A", "A"]}, 422, "each once"),
        ({"rows": [1]}, 422, "rows"),
        ({"milliseconds": True}, 422, "milliseconds"),
        ({"answered_at": "1999"}, 422, "answered_at"),
    ]:
        reply = client.post("/study/answer", json=answer(**change))
        assert reply.status_code == status and words in reply.json()["detail"], reply.text
        assert len(reply.json()["detail"].splitlines()) == 1
    assert kept(paths) == []


def test_bodies_are_limited_and_must_be_json(client: TestClient) -> None:
    def status(body, kind: str = "application/json") -> int:
        return client.post("/study/answer", content=body, headers={"Content-Type": kind}).status_code

    assert status(b"{") == status(b"") == 422
    assert status(json.dumps(answer()).encode(), "text/plain") == 415  # what another site's form can send
    assert status(b" " * 5000) == 413
    assert status(b" " * 1000 for _ in range(50)) == 413  # without a length, as a stream
    for name in ("", "a b", "ann\n", "x" * 41, "simulated-01"):
        assert client.get("/study/next", params={"annotator": name}).status_code == 422


def test_without_a_plan_the_page_says_so_and_takes_it_up_later(client: TestClient, paths: Paths) -> None:
    PlanFiles.shown(paths).plan.unlink()
    reply = client.get("/study/next", params={"annotator": "ann"})
    assert reply.status_code == 404 and "make repro" in reply.json()["detail"]
    write_small_plan(paths)
    assert client.get("/study/next", params={"annotator": "ann"}).json()["task"] == "t001"


@pytest.mark.parametrize("source", ["simulated", "people"])
def test_results_say_who_answered(client: TestClient, paths: Paths, source: str) -> None:
    assert "No analysis yet" in client.get("/study/results").text
    _, key = PlanFiles.shown(paths).read()
    table = simulate(key, k=3, settings=settings()).replace({"annotator": {"simulated-01": "a<b>"}})
    rules = settings(most_failed_checks=0.0)
    tables = study_analysis.study_tables(table, key, source=source, settings=rules, resampling=RESAMPLES)
    annotators = tables["human_study_annotators"]
    tables["human_study_annotators"] = annotators.assign(reason="why <i>", kept=False)
    for name, written in tables.items():
        files.write_table(paths.result(name), written)
    text = client.get("/study/results").text
    assert ("SIMULATED" in text) == (source == "simulated") and text.count("(simulated)") in (0, 3)
    assert "InfoGAN (proposed)" in text and "prints no result" in text
    assert "a&lt;b&gt;" in text and "<i>" not in text and "why &lt;i&gt;" in text


def test_served_photos_are_the_decoded_pixels(client: TestClient, paths: Paths) -> None:
    with Image.open(io.BytesIO(client.get("/photo/5").content)) as image:
        assert np.array_equal(np.asarray(image), np.load(paths.pixels)[5])
    for number in ("24", "-1", "x", "../params.yaml"):
        assert client.get(f"/photo/{number}").status_code in (404, 422)


# --- a real server ---------------------------------------------------------------------------------------


def answer_all(server: Server, name: str, acknowledged: list[tuple[str, str, str]]) -> None:
    """Answer tasks one after another, and note each acknowledgement, until the server dies."""
    with httpx.Client(base_url=server.address, timeout=30, trust_env=False) as client:
        for number in range(1, 12):
            sent = answer(f"t{number:03d}", annotator=name, rows=["ABC"[number % 3]])
            try:
                client.post("/study/answer", json=sent).raise_for_status()
            except httpx.TransportError:
                return
            acknowledged.append((name, sent["task"], sent["rows"][0]))


@pytest.mark.slow
def test_sigkill_in_the_middle_of_answers_loses_nothing_acknowledged(paths: Paths) -> None:
    names, acknowledged = [f"annotator-{number}" for number in range(10)], []
    server = Server(paths.root).start()
    with ThreadPoolExecutor(10) as pool:
        writers = [pool.submit(answer_all, server, name, acknowledged) for name in names]
        while len(acknowledged) < 20:
            assert not all(writer.done() for writer in writers)
            time.sleep(0.001)
        server.kill()
    assert 20 <= len(acknowledged) < 110, "killed in the middle, not before or after"
    table = answers.AnswerStore(paths.answer_store).table()
    rows = list(table[["annotator", "task", "rows"]].itertuples(index=False, name=None))
    assert len(set(rows)) == len(rows) and set(acknowledged) <= set(rows)
    server.start()
    for name in names:  # all again: what was there is not counted twice
        answer_all(server, name, acknowledged)
    server.kill()
    table = answers.AnswerStore(paths.answer_store).table()
    assert len(table) == 110 == len(table.drop_duplicates(answers.UNIQUE))
