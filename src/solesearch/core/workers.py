"""Work side by side: processes that end with the one that started them, also when that one is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

LOOK_EVERY_S = 0.5


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of `workers` processes.

    Spawned, not forked: the caller may hold threads of a network library. A worker of Python's pool waits for
    work for ever when its parent is killed, so each one here watches its parent.
    """
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    )


def _end_with(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent answers it

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
