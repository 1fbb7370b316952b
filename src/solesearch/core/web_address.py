"""Where the web page listens: its default address, and sockets that say what is wrong with another."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from solesearch.core.errors import InputError

HOST, PORT = "127.0.0.1", 7860  # this machine only, and Gradio's usual port
BACKLOG = 128  # connections that may wait to be taken up
LAST_PORT = 65_535
HOSTS = "HOST=127.0.0.1 serves this machine alone, HOST=0.0.0.0 others, too"


def port_number(text: str | int) -> int:
    """Return a port, 0 to LAST_PORT (0: any free one); raises InputError for anything else."""
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= LAST_PORT:
        raise InputError(f"port {text}: wanted a whole number up to {LAST_PORT}; try `make app PORT={PORT}`")
    return port


def listen(host: str, port: str | int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises InputError that names what is wrong."""
    port = port_number(port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = None
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, ValueError, TypeError) as error:  # the last two: what can be no name of a host
        if listening:
            listening.close()
        raise InputError(refusal(error, host=host, port=port)) from error
    return listening


def refusal(error: Exception, *, host: str, port: int) -> str:
    """Return the line on why `host` and `port` cannot be listened on, and what to try."""
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError):
        return f"host {host!r}: no such name or address is known here; {HOSTS}"
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENODEV):
        return f"host {host!r}: not an address of this machine; {HOSTS}"
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host}: below 1024 needs rights that you lack; try `make app PORT={PORT}`"
    other = PORT + 1 if port in (0, PORT) else PORT
    return f"port {port} on {host}: {error.strerror or error}; try `make app PORT={other}`"


def first_free_port(ports: Iterable[int]) -> int:
    """Return the first of `ports` that nobody listens on (0: any free one); raises InputError for none."""
    for port in ports:
        try:
            with listen(HOST, port) as listening:
                return listening.getsockname()[1]
        except InputError:
            continue
    raise InputError(f"none of the ports {list(ports)} is free; end a page that is still running")
