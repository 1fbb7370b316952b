"""The page on which people tick rows (C Fig 8.9), and its results: `attach` puts both into a FastAPI app.

The server knows the plan and the answers, never the key: neither a model's name nor a class leaves it before
the results. `python -m solesearch.people.annotation_page PROFILE` serves the study alone, without TensorFlow.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.settings import check_known
from solesearch.core.web_address import listen
from solesearch.people.answers import (
    ANNOTATOR,
    LONGEST_MS,
    SIMULATED,
    Answer,
    AnswerStore,
    ConflictError,
    check_annotator,
    check_answer,
)
from solesearch.people.human_study import Plan, plan_file, read_plan

PAGE = Path(__file__).with_name("annotation_page.html")
PLANNED_ANEW = "the study was planned anew; going on with the new plan"
LARGEST_BODY = 4096  # bytes; an answer has about 150
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Sent(BaseModel):
    """What the page sends about a task; anything else is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    annotator: str = Field(pattern=f"^{ANNOTATOR.pattern}$")
    plan: str = Field(max_length=40)
    task: str = Field(max_length=20)


class SentAnswer(Sent):
    """An answer: the letters of the ticked rows, none of them for "none"."""

    rows: list[str] = Field(max_length=9)
    milliseconds: int = Field(ge=0, le=LONGEST_MS)


class RefusedError(Exception):
    """A request that is not served: an HTTP status and one line that says why."""

    def __init__(self, status: int, words: str):
        """Keep both."""
        super().__init__(words)
        self.status = status


class StudyDesk:
    """Plan and store of one profile, and what an annotator sees next."""

    def __init__(self, paths: Paths, photo_url: Callable[[int], str]):
        """Take the profile's paths; plan and store are opened when first asked for."""
        self.paths, self.photo_url = paths, photo_url
        self._opened: tuple[int, Plan, AnswerStore] | None = None

    def open(self) -> tuple[Plan, AnswerStore]:
        """Return plan and store; a plan written anew is read anew. Raises RefusedError (503) without one."""
        path = plan_file(self.paths.human_study)
        try:
            written = path.stat().st_mtime_ns if path.is_file() else 0
            if self._opened is None or self._opened[0] != written:
                self._opened = (written, read_plan(path), AnswerStore(self.paths.answer_store))
        except InputError as error:
            # 404, not 5xx: the page would ask again and again, and only `make repro` can help
            words = "no study is planned yet; `make repro` plans it" if not path.is_file() else str(error)
            raise RefusedError(404, words) from error
        return self._opened[1:]

    def state(self, annotator: str, *, again: Answer | None = None) -> dict[str, Any]:
        """Return an annotator's progress and the next task; after an undo that task with its old ticks."""
        plan, store = self.open()
        answered, last = store.progress(plan=plan.id, annotator=annotator)
        waiting = [task for task in plan.tasks if task not in answered]
        task = again.task if again else next(iter(waiting), None)
        found = {
            "plan": plan.id, "total": len(plan.tasks), "answered": len(answered), "task": task,
            "last": last.task if last else None,
        }  # fmt: skip
        if task is None:
            return found
        shown = plan.tasks[task]
        rows = [
            {"row": row, "photos": [self.photo_url(photo) for photo in photos]}
            for row, photos in sorted(shown["rows"].items())
        ]
        ticked = list(again.rows) if again else []
        return {**found, "query": self.photo_url(shown["query"]), "rows": rows, "ticked": ticked}

    def answer(self, sent: SentAnswer) -> dict[str, Any]:
        """Keep an answer and return what comes next; raises RefusedError."""
        plan, store = self.open()
        letters = "".join(sent.rows)
        if any(len(row) != 1 for row in sent.rows):
            raise RefusedError(422, "rows: one letter each")
        answer = Answer(sent.plan, sent.annotator, sent.task, letters, sent.milliseconds)
        if sent.plan != plan.id:
            raise RefusedError(409, PLANNED_ANEW)
        store.record(check_answer(answer, plan))
        return self.state(sent.annotator)

    def undo(self, sent: Sent) -> dict[str, Any]:
        """Take back the last answer, if `sent.task` is the last one; return what comes next."""
        plan, store = self.open()
        if sent.plan != plan.id:
            raise RefusedError(409, PLANNED_ANEW)
        taken = store.undo(plan=sent.plan, annotator=sent.annotator, task=sent.task)
        return self.state(sent.annotator, again=taken)


def person(name: str) -> str:
    """Return an annotator's name if it can be a person's; raises InputError otherwise."""
    if check_annotator(name).lower().startswith(SIMULATED):
        raise InputError(f"annotator: names with {SIMULATED} are those of simulated annotators")
    return name


async def limited_body(request: Request) -> bytes:
    """Return a JSON body of at most LARGEST_BODY bytes; raises RefusedError before reading more than that."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which a form of another site cannot send
        raise RefusedError(415, "send application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise RefusedError(413, f"at most {LARGEST_BODY} bytes")
    return bytes(body)


def parsed(kind: type[Sent], body: bytes) -> Any:
    """Return a body as `kind`; raises RefusedError (422) that names the first field that is wrong."""
    try:
        sent = kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise RefusedError(422, f"{where}: {first['msg']}") from error
    person(sent.annotator)
    return sent


def refusal(error: RefusedError | InputError) -> JSONResponse:
    """Return one line with the fitting status: what the request says, a conflict, or bad input."""
    status = error.status if isinstance(error, RefusedError) else 422
    return JSONResponse({"detail": str(error)}, 409 if isinstance(error, ConflictError) else status, HEADERS)


def guarded(work: Callable[..., Any]) -> JSONResponse:
    """Return what `work` gives as JSON, or its refusal."""
    try:
        return JSONResponse(work(), headers=HEADERS)
    except (RefusedError, InputError) as error:
        return refusal(error)


def attach(app: FastAPI, *, paths: Paths, photo_url: Callable[[int], str]) -> None:
    """Register the study of `paths.profile` on `app`: /study/, its JSON endpoints and /study/results.

    `photo_url` gives the address of a photo number (a row of photos.csv), say "/photo/123". Works before the
    study is planned, too: the page then says so.
    """
    desk = StudyDesk(paths, photo_url)

    @app.get("/study", include_in_schema=False)
    def without_slash() -> RedirectResponse:
        return RedirectResponse("study/")

    @app.get("/study/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=HEADERS)

    @app.get("/study/next")
    def next_task(annotator: str = "") -> JSONResponse:
        return guarded(lambda: desk.state(person(annotator)))

    @app.post("/study/answer")
    async def answer(request: Request) -> JSONResponse:
        return await _handled(request, SentAnswer, desk.answer)

    @app.post("/study/undo")
    async def undo(request: Request) -> JSONResponse:
        return await _handled(request, Sent, desk.undo)

    @app.get("/study/results", include_in_schema=False)
    def results() -> HTMLResponse:
        return HTMLResponse(results_page(paths), headers=HEADERS)


async def _handled(request: Request, kind: type[Sent], work: Callable[[Any], Any]) -> JSONResponse:
    try:
        body = await limited_body(request)
    except RefusedError as error:
        return refusal(error)
    return await run_in_threadpool(guarded, lambda: work(parsed(kind, body)))  # waits for the disk there


# --- results ---------------------------------------------------------------------------------------------

RESULTS_STYLE = (
    "body{font:16px/1.5 system-ui,'DejaVu Sans',sans-serif;color:#1a1a1a;max-width:60rem;margin:1rem auto;"
    "padding:0 1rem}table{border-collapse:collapse;display:block;overflow-x:auto}"
    "th,td{border-bottom:1px solid #bbb;padding:.3rem .7rem;text-align:right}"
    "th:first-child,td:first-child{text-align:left}"
    "meter{width:8rem}"
    ".simulated{background:#fff1d6;border:2px solid #8f3200;padding:.6rem 1rem;font-weight:600}"
    "@media (max-width:640px){h1{font-size:1.4rem}h2{font-size:1.15rem}th,td{padding:.3rem .4rem}"
    "meter{display:none}}:focus-visible{outline:3px solid #d55e00}"
)


def results_page(paths: Paths) -> str:
    """Return the last analysis as a page of its own: win rates, agreement, who was left out.

    Says so where the answers are simulated, and where there is no analysis yet.
    """
    from solesearch.people.study_analysis import TABLES

    tables = [
        files.read_table(paths.result(name), made_by="stage human_study", keep_default_na=False)
        for name in TABLES
        if paths.result(name).is_file()
    ]
    parts = ["<h1>Results of the human study</h1>", f"<p>Profile {html.escape(paths.profile)}.</p>"]
    if len(tables) < len(TABLES):
        parts.append("<p>No analysis yet: <code>make repro</code> writes it.</p>")
    else:
        parts += _result_parts(*tables)
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Results of the study</title>'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f"{head}<style>{RESULTS_STYLE}</style></head><body>{''.join(parts)}</body></html>"


def _result_parts(wins: pd.DataFrame, agreement: pd.DataFrame, annotators: pd.DataFrame) -> list[str]:
    from solesearch.core.model_names import model_name

    simulated = set(annotators["answers"]) == {"simulated"}
    parts = []
    if simulated:
        words = "SIMULATED: these answers come from a rule plus noise, not from people. They test the study."
        parts.append(f'<p class="simulated" role="note">{words}</p>')
    label = " (simulated)" if simulated else ""
    shown = [
        [html.escape(model_name(row["model"])), _meter(row["win_rate"]),
         _range(row, "win_rate", "low", "high"), _range(row, "strength", "strength_low", "strength_high")]
        for row in wins.to_dict("records")
    ]  # fmt: skip
    parts.append(f"<h2>How often each model's row was ticked{label}</h2>")
    parts.append(_table(["Model", "", "share ticked (95 %)", "Bradley-Terry strength (95 %)"], shown))
    first = wins.iloc[0]
    parts.append(
        f"<p>{first['annotators']} annotators, {first['queries']} queries, {first['shown']} answers; "
        "intervals resample queries. C section 8.4.3 prints no result, so nothing stands beside them.</p>"
    )
    parts.append(f"<h2>Agreement and bias{label}</h2>")
    lines = [[html.escape(row["what"]), _range(row, "value", "low", "high"), str(row["n"])]
             for row in agreement.to_dict("records")]  # fmt: skip
    parts.append(_table(["Measure", "value (95 %)", "n"], lines))
    left_out = annotators[annotators["reason"] != ""]
    parts.append(f"<h2>Left out: {len(left_out)} of {len(annotators)} annotators{label}</h2>")
    who = [[html.escape(row["annotator"]), html.escape(row["reason"])] for row in left_out.to_dict("records")]
    parts.append(_table(["Annotator", "why"], who) if who else "<p>Nobody.</p>")
    parts.append("<p>New answers count once they are exported and the pipeline has run again.</p>")
    return parts


def _meter(share: float) -> str:
    return f'<meter min="0" max="1" value="{float(share):.3f}">{float(share):.2f}</meter>'


def _range(row: dict[str, Any], value: str, low: str, high: str) -> str:
    cells = [pd.to_numeric(row[name], errors="coerce") for name in (value, low, high)]
    if pd.isna(cells[0]):
        return "–"
    ends = "" if pd.isna(cells[1]) else f" ({cells[1]:.2f} to {cells[2]:.2f})"
    return f"{cells[0]:.2f}{ends}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


# --- alone -----------------------------------------------------------------------------------------------


def study_app(paths: Paths) -> FastAPI:
    """Return an app that serves the study alone, photos as PNG from the decoded pixels."""
    from PIL import Image

    app = FastAPI(title="solesearch, human study", docs_url=None, redoc_url=None, openapi_url=None)
    pixels = files.read_array(paths.pixels, made_by="stage prepare", memory_map=True)

    @lru_cache(maxsize=2048)
    def picture(number: int) -> bytes:
        written = io.BytesIO()
        Image.fromarray(pixels[number]).save(written, format="PNG")
        return written.getvalue()

    @app.get("/photo/{number}")
    def photo(number: int) -> Response:
        if not 0 <= number < len(pixels):
            return JSONResponse({"detail": "no such photo"}, 404)
        kept = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(picture(number), media_type="image/png", headers=kept)

    @app.get("/", include_in_schema=False)
    def start() -> RedirectResponse:
        return RedirectResponse("study/")

    attach(app, paths=paths, photo_url="/photo/{}".format)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the human study of a profile alone, on this machine."""
    parser = argparse.ArgumentParser(
        prog="python -m solesearch.people.annotation_page", description=main.__doc__
    )
    parser.add_argument("profile", nargs="?", default="sample")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", default=7861, help="0: any free one")
    chosen = parser.parse_args(arguments)

    def serve() -> None:
        import uvicorn

        check_known([chosen.profile])
        paths = Paths.of(chosen.profile)
        read_plan(plan_file(paths.human_study))  # a missing plan is named before anything is served
        listening = listen(chosen.host, chosen.port)
        print(json.dumps({"study": f"http://{chosen.host}:{listening.getsockname()[1]}/study/"}), flush=True)
        uvicorn.Server(uvicorn.Config(study_app(paths), log_level="warning")).run(sockets=[listening])

    return exit_status(serve)


if __name__ == "__main__":
    sys.exit(main())
