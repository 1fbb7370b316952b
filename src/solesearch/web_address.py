"""Where the web page listens: its default address, and sockets that say so when a port is taken."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from solesearch.errors import InputError

HOST, PORT = "127.0.0.1", 7860  # this machine only, and Gradio's usual port
BACKLOG = 128  # connections that may wait to be taken up


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises InputError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"port {port} on {host}: {reason}; try `make app PORT=7861`") from error
    return listening


def first_free_port(ports: Iterable[int]) -> int:
    """Return the first of `ports` that nobody listens on (0: any free one); raises InputError for none."""
    for port in ports:
        try:
            with listen(HOST, port) as listening:
                return listening.getsockname()[1]
        except InputError:
            continue
    raise InputError(f"none of the ports {list(ports)} is free; end a page that is still running")
