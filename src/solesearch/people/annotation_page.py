"""The page on which people tick rows (C Fig 8.9), and its results: `attach` puts both into a FastAPI app.

The server knows the plan and the answers, never the key: neither a model's name nor a class leaves it before
the results. `python -m solesearch.people.annotation_page PROFILE` serves the study alone, without TensorFlow.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from solesearch.core import files
from solesearch.core.model_names import model_name
from solesearch.core.paths import Paths
from solesearch.core.settings import check_known
from solesearch.people.answers import Annotator, Answer, AnswerStore, Assignment, check_answer
from solesearch.people.human_study import Plan, PlanFiles, read_plan
from solesearch.people.serving import FRAMES, PORT, limited_body, new_app, serve_command
from solesearch.people.study_analysis import TABLES

HERE = Path(__file__).parent
LARGEST_BODY = 4096  # bytes; an answer has about 150
# Page and results hold their own style and script, and ask for nothing but photos and answers.
OWN_STYLE = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    f"script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; {FRAMES}"
}


class Questionnaire:
    """Plan and store of one profile, and what an annotator sees next."""

    def __init__(self, paths: Paths, photo_url: Callable[[int], str]):
        """Take the profile's paths; plan and store are read at every call, since a stage may write them."""
        self.paths, self.photo_url = paths, photo_url

    def open(self, sent: Assignment | None = None) -> tuple[Plan, AnswerStore]:
        """Return plan and store; HTTPException 404 without a plan, 409 where `sent` belongs to another."""
        path = PlanFiles.shown(self.paths).plan
        if not path.is_file():  # 404, not 5xx: the page would ask again and again
            raise HTTPException(404, "no study is planned yet; `make repro` plans it")
        plan = read_plan(path)
        if sent and sent.plan != plan.id:
            raise HTTPException(409, "the study was planned anew; going on with the new plan")
        return plan, AnswerStore(self.paths.answer_store)

    def state(
        self, plan: Plan, store: AnswerStore, annotator: str, *, again: Answer | None = None
    ) -> dict[str, Any]:
        """Return an annotator's progress and the next task; after an undo that task with its old ticks."""
        answered = [answer.task for answer in store.given(plan=plan.id, annotator=annotator)]
        name = again.task if again else next((task for task in plan.tasks if task not in answered), None)
        state = {
            "plan": plan.id, "total": len(plan.tasks), "answered": len(answered), "task": name,
            "last": answered[-1] if answered else None,
        }  # fmt: skip
        if name is None:
            return state
        task = plan.tasks[name]
        rows = [
            {"row": letter, "photos": [self.photo_url(photo) for photo in photos]}
            for letter, photos in sorted(task.rows.items())
        ]
        ticked = list(again.rows) if again else []
        return {**state, "query": self.photo_url(task.query), "rows": rows, "ticked": ticked}


def attach(app: FastAPI, *, paths: Paths, photo_url: Callable[[int], str]) -> None:
    """Register the study of `paths.profile` on `app`: /study/, its JSON endpoints and /study/results.

    `photo_url` gives the address of a photo number (a row of photos.csv), say "/photo/123". Works before the
    study is planned, too: the page then says so.
    """
    questionnaire = Questionnaire(paths, photo_url)

    async def body(request: Request) -> bytes:
        too_large = f"at most {LARGEST_BODY} bytes"
        return await limited_body(request, kind="application/json", most=LARGEST_BODY, too_large=too_large)

    @app.get("/study/")
    def page() -> FileResponse:
        return FileResponse(HERE / "annotation_page.html", headers=OWN_STYLE)

    @app.get("/study/next")
    def next_task(annotator: Annotator) -> dict[str, Any]:
        return questionnaire.state(*questionnaire.open(), annotator)

    @app.post("/study/answer")
    def answer(sent: Annotated[bytes, Depends(body)]) -> dict[str, Any]:
        given = Answer.model_validate_json(sent, strict=True)
        plan, store = questionnaire.open(given)
        check_answer(given, plan)
        store.record(given)
        return questionnaire.state(plan, store, given.annotator)

    @app.post("/study/undo")
    def undo(sent: Annotated[bytes, Depends(body)]) -> dict[str, Any]:
        last = Assignment.model_validate_json(sent, strict=True)
        plan, store = questionnaire.open(last)
        return questionnaire.state(plan, store, last.annotator, again=store.undo(last))

    @app.get("/study/results")
    def results() -> HTMLResponse:
        return HTMLResponse(results_page(paths), headers=OWN_STYLE)


def results_page(paths: Paths) -> str:
    """Return the last analysis as a page of its own: win rates, agreement, who was left out.

    Says so where the answers are simulated, and where there is no analysis yet.
    """
    templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    templates.globals |= {"model_name": model_name, "interval": interval}
    options = {"made_by": "stage human_study", "keep_default_na": False}
    tables = {
        name: files.read_table(paths.result(name), **options).to_dict("records")
        for name in TABLES
        if paths.result(name).is_file()
    }
    page = templates.get_template("study_results.html")
    return page.render(profile=paths.profile, analysed=len(tables) == len(TABLES), tables=tables)


def interval(row: dict[str, Any], value: str, low: str, high: str) -> str:
    """Return `0.52 (0.41 to 0.63)` from three columns of a row; without the ends where there are none."""
    middle, least, most = (pd.to_numeric(row[name], errors="coerce") for name in (value, low, high))
    if pd.isna(middle):
        return "–"
    return f"{middle:.2f}" + ("" if pd.isna(least) else f" ({least:.2f} to {most:.2f})")


def study_app(profile: str) -> FastAPI:
    """Return an app that serves a profile's study alone, photos as PNG from the decoded pixels.

    Raises InputError for an unknown profile, and where plan or pixels are missing.
    """
    check_known([profile])
    app, paths = new_app("solesearch, human study"), Paths.of(profile)
    read_plan(PlanFiles.shown(paths).plan)  # a missing plan is named before anything is served
    pixels = files.read_array(paths.pixels, made_by="stage prepare", memory_map=True)

    @app.get("/photo/{number}")
    def photo(number: int) -> Response:
        if not 0 <= number < len(pixels):
            raise HTTPException(404, "no such photo")
        written = io.BytesIO()
        Image.fromarray(pixels[number]).save(written, format="PNG")
        headers = {"Cache-Control": "max-age=3600"}
        return Response(written.getvalue(), media_type="image/png", headers=headers)

    @app.get("/")
    def start() -> RedirectResponse:
        return RedirectResponse("study/")

    attach(app, paths=paths, photo_url="/photo/{}".format)
    return app


if __name__ == "__main__":
    sys.exit(serve_command(study_app, what="The human study", port=PORT + 1, path="/study/"))
