"""The web page of C section 8.3.3: `make app` serves it, one process, no TensorFlow, no request to elsewhere.

FastAPI answers photos by number, uploads and the human study; Gradio draws the tabs. A guard in front of
both lets through what the page itself asks for and nothing else: Gradio's own routes for files, uploads,
proxies and streams are shut, and a call's values must be plain, since Gradio opens a path or an address that
stands in them (6.31: `async_move_files_to_cache` checks neither on a mounted page).
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from unittest.mock import patch

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.settings import fill, load_section
from solesearch.core.surroundings import without_proxies
from solesearch.core.web_address import HOST, PORT, listen
from solesearch.page.search_service import SearchService
from solesearch.page.uploads import MEGABYTE, UploadLimits, UploadShelf, read_upload, small_jpeg, too_large
from solesearch.people.annotation_page import attach
from solesearch.photos.photo import load_photo

PHOTO_SIDE = 320  # pixels; what a row shows is smaller
PHOTOS_KEPT = 4000  # encoded photos in memory, about 10 kB each
LONGEST_CALL = 65_536  # bytes of a call to Gradio; the page's own are below 2 kB
CALL_KEYS = ("fn_index", "trigger_id", "session_hash")
EVENT_KEYS = ("number", "token", "problem")  # what web_page.js tells
DAY_S = 86_400

# What the page asks Gradio for. Everything else of Gradio is answered with 404.
OPEN_TO_GET = ("/", "/health", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
OPEN_BELOW = (
    "/assets/",
    "/static/",
    "/gradio_api/heartbeat/",
    "/gradio_api/startup-events",
    "/photo/",
    "/study",
)
OPEN_TO_POST = ("/upload", "/study", "/gradio_api/reset")
CALLS = "/gradio_api/run/"

HTTP_ERRORS = 400  # and above

# What each kind of Gradio's components takes, in words and as a test.
WANTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "checkboxgroup": (
        "a list of names",
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    ),
    "slider": ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
    "checkbox": ("true or false", lambda value: isinstance(value, bool)),
    "textbox": ("a text", lambda value: value is None or isinstance(value, str)),
    "dropdown": ("a text", lambda value: value is None or isinstance(value, str)),
}

# 'unsafe-eval' and 'unsafe-inline' are Gradio's needs (templates, styles); 'self' keeps all requests here.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


@dataclass(frozen=True)
class PageSettings:
    """What the running page allows; `params.yaml` says why."""

    upload_megabytes: int
    upload_pixels: int
    uploads: int
    decoders: int
    most_answers: int

    def __post_init__(self) -> None:
        """Raise InputError for a value that no page can run with."""
        for name in ("upload_megabytes", "uploads", "decoders", "most_answers"):
            if getattr(self, name) < 1:
                raise InputError(f"params.yaml, page.{name}: wanted 1 or more, got {getattr(self, name)}")
        self.limits  # noqa: B018  raises InputError for limits that no upload meets

    @property
    def limits(self) -> UploadLimits:
        """What is taken from a visitor."""
        return UploadLimits(self.upload_megabytes * MEGABYTE, self.upload_pixels, self.uploads)


def load_settings(profile: str, overrides: dict[str, Any] | None = None) -> PageSettings:
    """Return section `page` of a profile; raises InputError for an impossible value."""
    return fill(PageSettings, load_section(profile, "page", overrides), where=f"{profile}.page")


class PhotoPictures:
    """The catalogue's photos as small JPEGs, upright and without metadata, by number only."""

    def __init__(self, service: SearchService):
        """Take the service whose catalogue is shown."""
        self._service = service
        self.jpeg: Callable[[int], bytes] = lru_cache(maxsize=PHOTOS_KEPT)(self._encode)
        self._version = str(service.facts["catalogue"])[:12]

    def url(self, photo: str) -> str:
        """Return the address of a photo by its id."""
        return self.url_of_number(self._service.photo(photo).number)

    def url_of_number(self, number: int) -> str:
        """Return the address of a photo; it changes with the catalogue, since browsers keep what they got."""
        return f"/photo/{number}?v={self._version}"

    def _encode(self, number: int) -> bytes:
        """Read and encode one photo; raises InputError for an unknown number or a file that is gone."""
        path = self._service.photo_file(self._service.numbered(number))
        try:
            return small_jpeg(load_photo(path), side=PHOTO_SIDE)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"photo {number}: its file is gone or damaged; run `make repro`") from error


class Guard:
    """Middleware in front of everything: a list of what is open, plain values in calls, and safe headers."""

    def __init__(self, app: ASGIApp, *, inputs: Mapping[int, Sequence[Any]]):
        """Take the application behind, and Gradio's components that each of its events reads."""
        self.app, self.inputs = app, inputs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 404 or 400 itself."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a WebSocket: the page opens none
        send = _with_headers(send)
        path, method = scope["path"], scope["method"]
        if method == "POST" and path.startswith(CALLS):
            body = plain_call(await _read_body(receive, most=LONGEST_CALL))
            if body is None:
                await JSONResponse({"error": "not a call of this page"}, 400)(scope, receive, send)
            elif fault := call_fault(json.loads(body), self.inputs):
                await JSONResponse({"error": fault}, 400)(scope, receive, send)
            else:
                await self.app(_with_length(scope, body), _replay(body, receive), _with_reason(send))
        elif is_open(method, path):
            await self.app(scope, receive, send)
        else:
            await JSONResponse({"error": "not found"}, 404)(scope, receive, send)


def is_open(method: str, path: str) -> bool:
    """Tell whether the page itself asks for this."""
    if method == "POST":
        return path in OPEN_TO_POST or path.startswith("/study/")
    return method in ("GET", "HEAD") and (
        path in OPEN_TO_GET or any(path.startswith(one) for one in OPEN_BELOW)
    )


def plain_call(body: bytes | None) -> bytes | None:
    """Return a call to Gradio with the page's own keys and nothing but plain values, or None.

    Values are numbers, texts, null, or lists of those: a mapping could be a file that Gradio opens. Of what
    an event tells, only what this page's own events tell goes on.
    """
    try:
        call = json.loads(body or b"")
        data, told = call.get("data"), call.get("event_data")
    except (ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(data, list):
        return None
    if not all(_is_plain(value) for item in data for value in (item if isinstance(item, list) else [item])):
        return None
    told = told if isinstance(told, dict) else {}
    kept = {key: call[key] for key in CALL_KEYS if key in call and _is_plain(call[key])}
    event = {key: told[key] for key in EVENT_KEYS if key in told and _is_plain(told[key])}
    return json.dumps({**kept, "data": data, "event_data": event}).encode()


def call_fault(call: dict[str, Any], inputs: Mapping[int, Sequence[Any]]) -> str:
    """Return why a plain call cannot be answered, by its event and its values' types; "" where it can.

    Gradio answers these with an error of no words; an unknown choice or a number out of range it names.
    """
    number = call.get("fn_index")
    if isinstance(number, bool) or not isinstance(number, int) or number not in inputs:
        return f"fn_index: the page has no event {number!r}"
    components, values = inputs[number], call["data"]
    if len(values) != len(components):
        return f"data: wanted {len(components)} values, got {len(values)}"
    for component, value in zip(components, values, strict=True):
        words, fits = WANTED.get(component.get_block_name(), ("", lambda _: True))
        if not fits(value):
            return f"{component.label}: wanted {words}, got {str(value)[:40]!r}"
    return ""


def _with_reason(send: Send) -> Send:
    """Return `send` for a call's answer: where it is an error, it says in words which one."""
    held: list[Message] = []

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= HTTP_ERRORS:
            held.append(message)
        elif held:
            held.append(message)
            if not message.get("more_body", False):
                content = b"".join(part.get("body", b"") for part in held[1:])
                answer = JSONResponse({"error": error_words(content)}, held[0]["status"])
                await answer({"type": "http"}, _nothing, send)
        else:
            await send(message)

    return sending


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def error_words(content: bytes) -> str:
    """Return what an error's answer says went wrong: Gradio's words, FastAPI's, or that it said none."""
    try:
        said = json.loads(content)
        if isinstance(said.get("detail"), list):
            return "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in said["detail"])
        words = said.get("error") or said.get("detail")
    except (ValueError, AttributeError, KeyError, TypeError):
        words = None
    return str(words) if words else "the page failed at this call; the terminal that serves it says where"


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


async def _read_body(receive: Receive, *, most: int) -> bytes | None:
    """Return a request's body, or None when it is longer than `most` bytes or breaks off."""
    body, more = b"", True
    while more:
        part = await receive()
        if part["type"] != "http.request":
            return None
        body, more = body + part.get("body", b""), part.get("more_body", False)
        if len(body) > most:
            return None
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def _with_length(scope: Scope, body: bytes) -> Scope:
    kept = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*kept, (b"content-length", str(len(body)).encode())]}


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", [])}
            missing = [(name, value) for name, value in HEADERS.items() if name not in there]
            message = {**message, "headers": [*message.get("headers", []), *missing]}
        await send(message)

    return sending


def import_gradio() -> Any:
    """Import Gradio without its writing of type stubs, which takes more than half of the time.

    Gradio parses the source of each component on import and writes a .pyi beside it, for editors. It skips a
    class whose file cannot be found, so classes have none while it is imported.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    without_proxies()
    found = inspect.getfile

    def file_of(thing: Any) -> str:
        if inspect.isclass(thing):
            raise OSError("not asked for")
        return found(thing)

    with patch.object(inspect, "getfile", file_of):
        import gradio
    return gradio


def create_app(service: SearchService, settings: PageSettings) -> FastAPI:
    """Return the whole page as one application; raises InputError when the showcase is incomplete."""
    gradio = import_gradio()
    from solesearch.page.page_tabs import PageActions, build_blocks, head, style, theme

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pictures, shelf = PhotoPictures(service), UploadShelf(kept=settings.uploads)
    add_photos(app, service, pictures)
    add_uploads(app, shelf, settings)
    attach(app, paths=service.paths, photo_url=pictures.url_of_number)
    actions = PageActions(service, shelf, url=pictures.url, most_bytes=settings.limits.most_bytes)
    blocks = build_blocks(actions, most_answers=settings.most_answers)
    gradio.mount_gradio_app(
        app, blocks, path="/", allowed_paths=[], footer_links=[], run_history=False, show_error=False,
        ssr_mode=False, mcp_server=False, pwa=False, enable_monitoring=False, theme=theme(), css=style(),
        head=head(),
    )  # fmt: skip
    app.add_middleware(Guard, inputs={number: event.inputs for number, event in blocks.fns.items()})
    return app


def add_photos(app: FastAPI, service: SearchService, pictures: PhotoPictures) -> None:
    """Register /photo/<number> and /health."""

    @app.get("/photo/{number}")
    def photo(number: str) -> Response:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            return Response("no such photo", 404)
        try:
            content = pictures.jpeg(int(number))
        except InputError:
            return Response("no such photo", 404)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": f"max-age={DAY_S}"})

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"profile": service.paths.profile, "photos": len(service.photos)}


def add_uploads(app: FastAPI, shelf: UploadShelf, settings: PageSettings) -> None:
    """Register /upload: a file's bytes in, a token out, or a sentence that says what is wrong."""
    decoders = threading.Semaphore(settings.decoders)

    def decode(data: bytes) -> str:
        with decoders, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return shelf.put(read_upload(data, limits=settings.limits))

    @app.post("/upload")
    async def upload(request: Request) -> JSONResponse:
        # Browsers send this type to another site only after asking it, so no other page can fill the shelf.
        if request.headers.get("content-type") != "application/octet-stream":
            return JSONResponse({"problem": "Please use the field on the page."}, 415)
        data = await _read_body(request.receive, most=settings.limits.most_bytes)
        if data is None:
            return JSONResponse({"problem": too_large(settings.limits)}, 413)
        try:
            return JSONResponse({"token": await run_in_threadpool(decode, data)})
        except InputError as error:
            return JSONResponse({"problem": str(error)}, 422)


def serve(profile: str, *, host: str = HOST, port: str | int = PORT, follow: bool = False) -> None:
    """Serve a profile's page until the process is ended, or with `follow` until its standard input is.

    Raises InputError before anything is loaded.
    """
    settings = load_settings(profile)  # first, since it knows which profiles there are
    service = SearchService.open(Paths.of(profile))
    listening = listen(host, port)
    import uvicorn
    from threadpoolctl import threadpool_limits

    app = create_app(service, settings)
    warm = threading.Thread(target=service.warm_up, args=([one.name for one in service.models],), daemon=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    shown = f"[{host}]" if ":" in host else host
    print(
        f"The page of {profile} is at http://{shown}:{listening.getsockname()[1]} (Ctrl+C ends it)",
        flush=True,
    )
    with threadpool_limits(1):  # visitors side by side, a thread each, instead of one on all cores
        warm.start()
        server = uvicorn.Server(config)
        if follow:
            threading.Thread(target=end_with_input, args=[server], daemon=True).start()
        server.run(sockets=[listening])


def end_with_input(server: Any) -> None:
    """Tell a uvicorn server to end once standard input ends: whoever started it is gone."""
    while sys.stdin.buffer.read(1):
        pass
    server.should_exit = True


def main() -> int:
    """Serve the web page of a profile."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile", nargs="?", default="sample")
    parser.add_argument("--host", default=HOST, help="0.0.0.0 lets other machines in; there is no login")
    parser.add_argument("--port", default=PORT, help="0: any free one")
    parser.add_argument("--follow", action="store_true", help="end when standard input ends")
    chosen = parser.parse_args()
    options = {"host": chosen.host, "port": chosen.port, "follow": chosen.follow}
    return exit_status(lambda: serve(chosen.profile, **options))


if __name__ == "__main__":
    sys.exit(main())
