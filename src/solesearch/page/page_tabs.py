"""The page's tabs in Gradio, and what happens when a visitor presses something.

Every handler returns HTML and never raises for what a visitor can cause: an InputError becomes its sentence.
Nothing goes through Gradio's queue or files, so visitors do not wait for each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from html import escape
from importlib import resources
from typing import Any, NamedTuple

import gradio as gr

from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED, UNTRAINED
from solesearch.page import page_html
from solesearch.page.page_html import PhotoUrl
from solesearch.page.search_service import Photo, SearchService
from solesearch.page.uploads import UploadShelf

PICKED = 12  # thumbnails to choose from
STARTING = (PROPOSED, UNTRAINED, "hog")  # models that are on at the start
K = 5  # P Fig 5, C Fig 8.7: top-5
EVERY_CLASS = "all classes"
DIRECT = {"queue": False, "show_progress": "hidden", "api_visibility": "undocumented"}


STUDY_TABS = {"Annotate": "/study/", "Results of the study": "/study/results"}  # annotation_page.attach


class PageActions:
    """What the tabs call: a visitor's choices in, HTML out."""

    def __init__(self, service: SearchService, shelf: UploadShelf, *, url: PhotoUrl, most_bytes: int):
        """Take the searches, the visitors' uploads, and the address of a photo by its id."""
        self.service, self.shelf, self.url, self.most_bytes = service, shelf, url, most_bytes

    def pick(self, label: str, seed: int | None = None) -> str:
        """Return thumbnails of a class; without a seed, others each time."""
        wanted = "" if label == EVERY_CLASS else label
        seed = secrets.randbelow(2**32) if seed is None else seed
        return page_html.picker(self.service.sample(label=wanted, count=PICKED, seed=seed), self.url)

    def rows(self, query: str, models: list[str], k: int, leave_out: bool) -> str:
        """Return the answers to a query: `photo:<id>` or `upload:<token>`."""
        kind, _, name = query.partition(":")
        try:
            if not models:
                raise InputError("Choose at least one model.")
            among = self.service.common_photos(models)
            if kind == "upload":
                upload = self.shelf.get(name)
                found = [self.service.search_upload(upload, one, k=int(k), among=among) for one in models]
                head = page_html.query_upload(upload)
            else:
                found = [
                    self.service.search_photo(
                        name, one, k=int(k), leave_out_product=bool(leave_out), among=among
                    )
                    for one in models
                ]
                head = page_html.query_photo(self.service.photo(name), self.url)
        except InputError as error:
            return page_html.message(str(error), kind="problem")
        return page_html.answer_rows(head, found, self.url, catalogue=len(self.service.photos))

    def by_id(self, photo: str, *choices: Any) -> tuple[str, str]:
        """Search with the photo of an id; returns the query and the answers."""
        query = f"photo:{str(photo).strip()}"
        return query, self.rows(query, *choices)

    def by_number(self, pressed: gr.EventData, *choices: Any) -> tuple[str, str]:
        """Search with a photo that was pressed."""
        try:
            return self.by_id(self.pressed(pressed).id, *choices)
        except InputError as error:
            return "", page_html.message(str(error), kind="problem")

    def by_chance(self, label: str, *choices: Any) -> tuple[str, str]:
        """Search with any photo of a class, test photos first."""
        wanted = "" if label == EVERY_CLASS else label
        tests = [photo for photo in self.service.photos if wanted in ("", photo.label)]
        tests = [photo for photo in tests if photo.split == "test"] or tests
        return self.by_id(secrets.choice(tests).id, *choices)

    def by_upload(self, sent: gr.EventData, *choices: Any) -> tuple[str, str]:
        """Search with an upload that was accepted, or say why it was not."""
        data = sent._data or {}
        if problem := str(data.get("problem", "")):
            return "", page_html.message(problem, kind="problem")
        query = f"upload:{data.get('token', '')}"
        return query, self.rows(query, *choices)

    def neighbours(self, photo: Photo) -> str:
        """Return the row below the map: neighbours by the model whose features the map shows."""
        return self.rows(f"photo:{photo.id}", [PROPOSED], K, False)

    def pressed(self, event: gr.EventData) -> Photo:
        """Return the photo whose button or mark was pressed; raises InputError for what is none."""
        number = (event._data or {}).get("number")
        if not isinstance(number, int):
            raise InputError("Press a photo, please.")
        return self.service.numbered(number)


def script(function: str) -> str:
    """Return a component's js_on_load: the function of web_page.js that looks after it."""
    return f"window.solesearch.{function}(element, trigger);"


def head() -> str:
    """Return what goes into the page's head: the one script, inline, so that nothing is fetched for it."""
    code = resources.files("solesearch.page").joinpath("web_page.js").read_text(encoding="utf-8")
    return f"<script>{code}</script>"


def style() -> str:
    """Return the page's style sheet."""
    return resources.files("solesearch.page").joinpath("web_page.css").read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Return Gradio's base theme with the visitor's own fonts: nothing is fetched from elsewhere."""
    sans, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    return gr.themes.Base(primary_hue="blue", font=sans, font_mono=mono)


def build_blocks(actions: PageActions, *, most_answers: int) -> gr.Blocks:
    """Return the whole page: tabs Search, Map, Annotate, Results of the study."""
    facts = actions.service.facts
    kind = "a synthetic catalogue, drawn by code" if facts["synthetic"] else "photographs"
    with gr.Blocks(title=f"solesearch: {facts['profile']}", analytics_enabled=False) as blocks:
        gr.HTML(
            f"<h1>Photos that look alike</h1><p>Profile <strong>{escape(facts['profile'])}</strong>: "
            f"{len(actions.service.photos):,} photos, {kind}. The proposed model is an InfoGAN’s "
            f"discriminator that saw no label (seed {facts['checkpoint']['seed']}, "
            f"step {facts['checkpoint']['step']}).</p>"
        )
        with gr.Tabs():
            with gr.Tab("Search", id="search"):
                _search_tab(actions, most_answers=most_answers)
            with gr.Tab("Map", id="map"):
                _map_tab(actions)
            for title, address in STUDY_TABS.items():
                with gr.Tab(title):
                    gr.HTML(f'<iframe class="study" src="{address}" title="{escape(title)}"></iframe>')
    return blocks


class Controls(NamedTuple):
    """What a visitor sets, in the order that `PageActions.rows` takes it."""

    models: gr.CheckboxGroup
    k: gr.Slider
    leave_out: gr.Checkbox


def _search_tab(actions: PageActions, *, most_answers: int) -> None:
    service, first = actions.service, actions.service.sample(count=1, seed=0)[0]
    starting = [model.name for model in service.models if model.name in STARTING]
    with gr.Row():
        with gr.Column(scale=3, min_width=280):
            with gr.Row():
                label = gr.Dropdown(
                    [EVERY_CLASS, *service.labels], value=EVERY_CLASS, label="Class", min_width=120
                )
                named = gr.Textbox(
                    label="Photo id, then Enter", placeholder=first.id, max_lines=1, min_width=120
                )
            picker = gr.HTML(actions.pick(EVERY_CLASS, 0), js_on_load=script("pick"), elem_id="picker")
            with gr.Row():
                more = gr.Button("Other photos", size="sm", min_width=120)
                chance = gr.Button("Random photo", size="sm", min_width=120, variant="primary")
        with gr.Column(scale=2, min_width=280):
            upload = gr.HTML(_upload_field(actions.most_bytes), js_on_load=script("upload"), elem_id="upload")
            choices = [(model.title, model.name) for model in service.models]
            controls = Controls(
                gr.CheckboxGroup(choices, value=starting, label="Models, side by side"),
                gr.Slider(1, most_answers, value=K, step=1, label="k, answers a model"),
                gr.Checkbox(False, label="Leave out the query’s own product"),
            )
    query = gr.State(f"photo:{first.id}")
    start = actions.rows(f"photo:{first.id}", starting, K, False)
    results = gr.HTML(start, js_on_load=script("pick"), elem_id="results")
    asked = {"outputs": [query, results], **DIRECT}
    label.change(actions.pick, label, picker, **DIRECT)
    more.click(actions.pick, label, picker, **DIRECT)
    named.submit(actions.by_id, [named, *controls], **asked)
    chance.click(actions.by_chance, [label, *controls], **asked)
    for photos in (picker, results):
        photos.click(_with_event(actions.by_number), [*controls], **asked)
    upload.upload(_with_event(actions.by_upload), [*controls], **asked)
    for control in controls:
        control.change(actions.rows, [query, *controls], results, trigger_mode="always_last", **DIRECT)


def _map_tab(actions: PageActions) -> None:
    service = actions.service
    drawing = page_html.feature_map(
        service.map_points(), service.labels, model=service.model(PROPOSED), total=len(service.photos)
    )
    shown = gr.HTML(drawing, js_on_load=script("map"), elem_id="feature-map")
    below = gr.HTML(
        page_html.message("No photo chosen yet."), js_on_load=script("pick"), elem_id="map-neighbours"
    )

    def look(event: gr.EventData) -> str:
        try:
            return actions.neighbours(actions.pressed(event))
        except InputError as error:
            return page_html.message(str(error), kind="problem")

    for photos in (shown, below):
        photos.click(look, None, below, **DIRECT)


def _with_event(handler: Callable[..., tuple[str, str]]) -> Callable[..., tuple[str, str]]:
    """Return `handler` in the shape from which Gradio learns that it wants the event."""

    def handle(models: list[str], k: int, leave_out: bool, event: gr.EventData) -> tuple[str, str]:
        return handler(event, models, k, leave_out)

    return handle


def _upload_field(most_bytes: int) -> str:
    megabytes = f"{most_bytes / 1e6:g}"
    return (
        '<div class="upload"><label for="upload-file">Or search with a photo of your own '
        f"(up to {megabytes} MB; it stays in this server’s memory)</label>"
        f'<input type="file" id="upload-file" accept="image/*" data-most-bytes="{most_bytes}"></div>'
    )
