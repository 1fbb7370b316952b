"""What the pages served here share: errors in one line, small bodies, safe headers, the command line."""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from solesearch.core.errors import InputError, exit_status
from solesearch.people.answers import ConflictError
from solesearch.people.human_study import problem_line

HOST, PORT = "127.0.0.1", 7860  # this machine only
BACKLOG = 128  # connections that may wait to be taken up
LAST_PORT = 65_535
FAILED = "the page failed at this call; the terminal that serves it says where"
# Who may show a page in a frame: itself, and Jupyter, which is another port of the same machine.
FRAMES = "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    f"base-uri 'none'; form-action 'self'; {FRAMES}",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def new_app(title: str) -> FastAPI:
    """Return an app without routes that answers every error with {"detail": one line}, 500 included."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)

    def refuse(request: Request, error: Exception) -> JSONResponse:
        words = str(error) if isinstance(error, InputError) else problem_line(error)
        return JSONResponse({"detail": words}, 409 if isinstance(error, ConflictError) else 422)

    for kind in (InputError, ValidationError, RequestValidationError):
        app.add_exception_handler(kind, refuse)
    app.add_exception_handler(Exception, lambda request, error: JSONResponse({"detail": FAILED}, 500))

    @app.middleware("http")
    async def with_headers(request: Request, answer) -> Response:
        response = await answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


async def limited_body(request: Request, *, kind: str, most: int, too_large: str) -> bytes:
    """Return a request's body, read no further than `most` bytes.

    `kind` is the content type asked for, one that a browser sends to another site only after asking that
    site, so that no other page can post here. Raises HTTPException 415 and 413.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise HTTPException(415, f"send {kind}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise HTTPException(413, too_large)
    return bytes(body)


def listen(host: str, port: str | int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises InputError that names what is wrong."""
    number = int(port) if str(port).isdecimal() else -1
    if not 0 <= number <= LAST_PORT:
        raise InputError(f"port {port}: wanted a whole number up to {LAST_PORT}; try `make app PORT={PORT}`")
    listening = None
    try:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, number))
        listening.listen(BACKLOG)
        return listening
    except (OSError, ValueError, TypeError) as error:  # the last two: what can be no name of a host
        if listening:
            listening.close()
        other = PORT + 1 if number in (0, PORT) else PORT
        raise InputError(
            f"cannot listen on host {host}, port {port}: {getattr(error, 'strerror', None) or error}; try "
            f"`make app PORT={other}`, with HOST=127.0.0.1 for this machine alone, 0.0.0.0 for others, too"
        ) from error


def first_free_port(ports: Iterable[int]) -> int:
    """Return the first of `ports` that nobody listens on (0: any free one); raises InputError for none."""
    for port in ports:
        try:
            with listen(HOST, port) as listening:
                return listening.getsockname()[1]
        except InputError:
            continue
    raise InputError(f"none of the ports {list(ports)} is free; end a page that is still running")


def serve_command(open_app: Callable[[str], FastAPI], *, what: str, port: int = PORT, path: str = "/") -> int:
    """Be the command that serves what `open_app` makes of a profile, and return its exit status.

    It serves until the process is ended, or with --follow until its standard input is.
    """
    parser = argparse.ArgumentParser(description=f"Serve {what} of a profile.")
    parser.add_argument("profile", nargs="?", default="sample")
    parser.add_argument("--host", default=HOST, help="0.0.0.0 lets other machines in; there is no login")
    parser.add_argument("--port", default=port, help="0: any free one")
    parser.add_argument("--follow", action="store_true", help="end when standard input ends")
    chosen = parser.parse_args()

    def serve() -> None:
        import uvicorn

        listening = listen(chosen.host, chosen.port)
        app = open_app(chosen.profile)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
        server = uvicorn.Server(config)
        host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        address = f"http://{host}:{listening.getsockname()[1]}{path}"
        print(f"{what} of {chosen.profile} is at {address} (Ctrl+C ends it)", flush=True)
        if chosen.follow:
            threading.Thread(target=end_with_input, args=[server], daemon=True).start()
        server.run(sockets=[listening])

    return exit_status(serve)


def end_with_input(server: Any) -> None:
    """Tell a uvicorn server to end once standard input ends: whoever started it is gone."""
    while sys.stdin.buffer.read(1):
        pass
    server.should_exit = True
