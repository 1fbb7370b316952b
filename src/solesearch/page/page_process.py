"""The web page in a process of its own, for a notebook or a test: started, waited for, and ended again."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Any, Self

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.surroundings import SOURCE
from solesearch.people.serving import HOST, first_free_port

PATIENCE_S = 60.0
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy of variables or system
NOTEBOOK_PORTS = range(7870, 7890)  # the first free one, so that a notebook's output is the same each time


class PageProcess:
    """`python -m solesearch.page.web_page PROFILE` as a child process; `address` is where it answers.

    It ends with the process that started it, however that ends: its standard input then closes.
    """

    def __init__(self, profile: str, *, port: int | None = None):
        """Start the page and wait until it listens; `seconds` says how long that took.

        Raises InputError with the page's own line when it does not start, or after PATIENCE_S.
        """
        self.port = port or first_free_port(NOTEBOOK_PORTS)
        self.address = f"http://{HOST}:{self.port}"
        root, start = Paths.of(profile).root, time.monotonic()
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  a file: a full pipe would stall the page
        self._child = subprocess.Popen(
            [sys.executable, "-m", "solesearch.page.web_page", profile, "--port", str(self.port), "--follow"],
            cwd=root, env={**os.environ, "SOLESEARCH_ROOT": str(root), "PYTHONPATH": SOURCE},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        try:
            ready, _, _ = select.select([self._child.stdout], [], [], PATIENCE_S)
            if not ready or not self._child.stdout.readline():  # the one line that it prints: where it is
                self._errors.seek(0)
                said = self._errors.read().splitlines() or [f"nothing within {PATIENCE_S:.0f} s"]
                raise InputError(f"the web page did not start: {said[-1].removeprefix('error: ')}")
        except BaseException:
            self.stop()
            raise
        self.seconds = time.monotonic() - start

    def health(self) -> dict[str, Any]:
        """Return what /health says: the profile, and how many photos it has."""
        with DIRECTLY.open(f"{self.address}/health", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def __repr__(self) -> str:
        """Return where the page answers."""
        return f"the web page at {self.address}"

    def _repr_html_(self) -> str:
        """Return an inline frame of the page, which is how a notebook shows this object."""
        return f'<iframe src="{self.address}" title="The web page" width="100%" height="900"></iframe>'

    def stop(self) -> None:
        """End the process politely, and at once if it does not listen."""
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._errors):
            stream.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the page, whatever happened inside."""
        self.stop()
