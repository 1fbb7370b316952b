"""The web page of C section 8.3.3: `make app` serves it, one process, no TensorFlow, no request to elsewhere.

FastAPI answers a page, rows of answers as HTML, photos by number, uploads, and the human study. No name that
a visitor sends is ever a file's: photos are found in a table, uploads by a token, and all else is not there.
"""

import base64
import secrets
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from solesearch.core.errors import InputError
from solesearch.core.model_names import BEST, PROPOSED
from solesearch.core.paths import Paths
from solesearch.page.search_service import SearchService
from solesearch.page.uploads import (
    MEGABYTE,
    PREVIEW_SIDE,
    PageSettings,
    UploadStore,
    read_upload,
)
from solesearch.people import annotation_page
from solesearch.people.serving import limited_body, new_app, serve_command
from solesearch.photos.photo import load_photo, small_jpeg

HERE = Path(__file__).parent
PHOTO_SIDE = 320  # pixels; what a row shows is smaller
PHOTOS_KEPT = 4000  # encoded photos in memory, about 10 kB each
DAY = {"Cache-Control": "max-age=86400"}
PICKED = 12  # thumbnails to choose from
STARTING = (PROPOSED, BEST, "hog")  # models that are on at the start; the page says why
K = 5  # P Fig 5, C Fig 8.7: top-5
# Okabe and Ito's colours, darkened where they would vanish on white; shapes change with every class, so that
# forty classes differ in one or the other.
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#b0497f", "#8a6d00", "#111111", "#7d7d7d", "#7a3e9d")
SHAPES = (
    "M0-6A6 6 0 1 1 0 6A6 6 0 1 1 0-6Z",  # circle
    "M-5.5-5.5H5.5V5.5H-5.5Z",  # square
    "M0-7L6.5 5H-6.5Z",  # triangle
    "M0-7.5L6 0L0 7.5L-6 0Z",  # diamond
    "M-2-6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z",  # plus
)


class Page:
    """One profile's page: its searches, its visitors' uploads, and its parts as HTML."""

    def __init__(self, service: SearchService, settings: PageSettings):
        """Read the templates; raises InputError when the showcase has no map."""
        self.service, self.settings = service, settings
        self.uploads = UploadStore(kept=settings.uploads)
        self.jpeg = lru_cache(maxsize=PHOTOS_KEPT)(self._encode)
        templates = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
            undefined=StrictUndefined,
        )  # fmt: skip
        templates.globals |= {"photo_url": self.photo_url, "service": service, "settings": settings}
        self.parts = templates.get_template("parts.html").module
        starting = [model for model in STARTING if model in service.models]
        first = service.sample(count=1, seed=0)[0]
        self.html = templates.get_template("page.html").render(
            starting=starting, k=K, first=first, picker=self.picker(seed=0), map=self.map(),
            proposed=PROPOSED, answers=self.answers(photo=first.id, models=starting, k=K),
        )  # fmt: skip

    def photo_url(self, number: int) -> str:
        """Return the address of a photo; it changes with the catalogue, since browsers keep what they got."""
        return f"/photo/{number}?v={self.service.facts['catalogue'][:12]}"

    def _encode(self, number: int) -> bytes:
        """Return a photo as a small JPEG, upright, without metadata; raises InputError for none."""
        path = self.service.photo_file(number)
        try:
            return small_jpeg(load_photo(path), side=PHOTO_SIDE)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"photo {number}: its file is gone or damaged; run `make repro`") from error

    def picker(self, label: str = "", *, seed: int | None = None) -> str:
        """Return thumbnails of a class ("": of all) to search with; without a seed, others each time."""
        seed = secrets.randbits(32) if seed is None else seed
        return self.parts.picker(self.service.sample(label=label, count=PICKED, seed=seed))

    def answers(
        self, *, models: list[str], k: int, photo: str = "", upload: str = "", leave_out: bool = False
    ) -> str:
        """Return what `models` answer to a photo by its id, or to an upload by its token."""
        if upload:
            sent = self.uploads.get(upload)
            # the picture goes inside the page, so that nobody else can ask for it
            preview = base64.b64encode(small_jpeg(sent.image, side=PREVIEW_SIDE)).decode("ascii")
            rows = self.service.search_upload(sent, models, k=k)
            return self.parts.answers_to_upload(upload, preview, sent.remarks, rows)
        rows = self.service.search_photo(photo, models, k=k, leave_out_product=leave_out)
        return self.parts.answers_to_photo(self.service.photo(photo), rows)

    def map(self) -> str:
        """Return the map of the proposed model's features as an SVG: a mark a photo, its look by class."""
        points, looks = self.service.map_table(), class_looks(self.service.labels)
        classes = [
            (label, *looks[label], marks.to_dict("records")) for label, marks in points.groupby("label")
        ]
        return self.parts.feature_map(classes, self.service.model(PROPOSED).title, len(points))


def class_looks(labels: list[str]) -> dict[str, tuple[str, str]]:
    """Return class -> (colour, path of its mark around 0, 0)."""
    return {
        label: (COLOURS[number % len(COLOURS)], SHAPES[number % len(SHAPES)])
        for number, label in enumerate(labels)
    }


def create_app(service: SearchService, settings: PageSettings, paths: Paths) -> FastAPI:
    """Return the whole page as one application; raises InputError when the showcase is incomplete."""
    app, page = new_app("solesearch"), Page(service, settings)

    @app.get("/")
    def whole() -> HTMLResponse:
        return HTMLResponse(page.html)

    @app.get("/page.{kind}")
    def style_or_script(kind: Literal["css", "js"]) -> FileResponse:
        return FileResponse(HERE / f"page.{kind}")

    @app.get("/photo/{number}")
    def photo(number: int) -> Response:
        return Response(page.jpeg(number), media_type="image/jpeg", headers=DAY)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"profile": service.profile, "photos": len(service.photos)}

    add_searches(app, page)
    annotation_page.attach(app, paths=paths, photo_url=page.photo_url)
    return app


def add_searches(app: FastAPI, page: Page) -> None:
    """Register /picker, /answers and /upload: pieces of HTML, or a file's token, or {"detail": why not}."""
    settings, decoders = page.settings, threading.Semaphore(page.settings.decoders)

    async def sent_photo(request: Request) -> bytes:
        most, kind = settings.upload_megabytes * MEGABYTE, "application/octet-stream"
        return await limited_body(request, kind=kind, most=most, too_large=settings.too_large)

    @app.get("/picker")
    def picker(label: str = "") -> HTMLResponse:
        return HTMLResponse(page.picker(label))

    @app.get("/answers")
    def answers(
        photo: str | None = None, upload: str = "", label: str = "", leave_out: bool = False,
        model: Annotated[tuple[str, ...], Query()] = (),
        k: Annotated[int, Query(ge=1, le=settings.most_answers)] = K,
    ) -> HTMLResponse:  # fmt: skip
        if photo is None and not upload:  # any photo of the class
            photo = page.service.sample(label=label, count=1, seed=secrets.randbits(32))[0].id
        asked = {"photo": (photo or "").strip(), "upload": upload, "leave_out": leave_out}
        return HTMLResponse(page.answers(models=model, k=k, **asked))

    @app.post("/upload")
    def upload(data: Annotated[bytes, Depends(sent_photo)]) -> dict[str, str]:
        with decoders:
            return {"token": page.uploads.put(read_upload(data, settings))}


def open_page(profile: str) -> FastAPI:
    """Return the page of a profile, its models loading in the background; raises InputError without one."""
    settings = PageSettings.load(profile)  # first, since it knows which profiles there are
    paths = Paths.of(profile)
    service = SearchService(paths)
    app = create_app(service, settings, paths)
    threading.Thread(target=service.warm_up, daemon=True).start()
    return app


if __name__ == "__main__":
    sys.exit(serve_command(open_page, what="The page"))
