"""A folder of the web on this machine: files by name, ranges of them, and servers that misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class WebFolder:
    """What the server holds and how it behaves; tests change both between requests."""

    files: dict[str, bytes] = field(default_factory=dict)
    address: str = ""
    ranges: bool = True  # answers Range, if If-Range names the file that it still holds
    tags: bool = True  # sends an ETag
    cut_after: int | None = None  # bytes of a body, after which it hangs up
    pause_after: int | None = None  # bytes of a body, after which it sends nothing more until `release`
    kind: str = "application/zip"
    asked: list[tuple[str, str]] = field(default_factory=list)  # name, Range
    reached: threading.Event = field(default_factory=threading.Event)  # `pause_after`
    release: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def served(**options: object) -> Iterator[WebFolder]:
    """Serve a WebFolder at `.address` while the block runs."""
    folder = WebFolder(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, folder)

        def do_HEAD(self) -> None:
            answer(self, folder, head=True)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder.address = f"http://127.0.0.1:{server.server_port}/data"
    try:
        yield folder
    finally:
        folder.release.set()
        server.shutdown()
        server.server_close()


def answer(request: BaseHTTPRequestHandler, folder: WebFolder, *, head: bool = False) -> None:
    """Answer one request as `folder` says."""
    name, asked = request.path.rpartition("/")[2], request.headers.get("Range", "")
    folder.asked.append((name, asked))
    if name not in folder.files:
        request.send_error(404)
        return
    body = folder.files[name]
    tag = f'"{hashlib.md5(body).hexdigest()}"'
    same = folder.ranges and asked and request.headers.get("If-Range", tag) == tag
    start = int(asked.removeprefix("bytes=").rstrip("-")) if same else 0
    if start and start >= len(body):
        request.send_error(416)
        return
    request.send_response(206 if start else 200)
    request.send_header("Content-Type", folder.kind)
    request.send_header("Content-Length", str(len(body) - start))
    if folder.tags:
        request.send_header("ETag", tag)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    request.end_headers()
    if not head:
        _send(request, folder, body[start:])


def _send(request: BaseHTTPRequestHandler, folder: WebFolder, body: bytes) -> None:
    with contextlib.suppress(OSError):  # the client was killed
        request.wfile.write(body[: folder.pause_after][: folder.cut_after])
        request.wfile.flush()
        if folder.pause_after is not None:
            folder.reached.set()
            folder.release.wait(30)
            request.wfile.write(body[folder.pause_after :])
    if folder.cut_after is not None:
        request.close_connection = True
