"""Work side by side: processes that end with the one that started them, also when that one is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from solesearch.core.errors import InputError
from solesearch.core.progress import Progress

LOOK_EVERY_S = 0.5


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of `workers` processes.

    Spawned, not forked: the caller may hold threads of a network library. A worker of Python's pool waits for
    work for ever when its parent is killed, so each one here watches its parent.
    """
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with,
        initargs=(os.getpid(),),
    )


def run_trainings(train: Callable[..., Any], trainings: Mapping[str, tuple], *, at_once: int) -> None:
    """Call `train(*arguments)` for each named training, `at_once` side by side, each in a process.

    A process of its own, because threads and determinism are settled before TensorFlow starts; it takes one
    training after the other, because that start takes as long as a short training. Raises InputError with
    the name and the words of the first that fails; the others are then ended.
    """
    if not trainings:
        return
    progress = Progress("trainings", total=len(trainings), unit="training")
    others, pool = set(multiprocessing.active_children()), process_pool(min(at_once, len(trainings)))
    try:
        names = {pool.submit(train, *arguments): name for name, arguments in trainings.items()}
        for number, future in enumerate(as_completed(names), start=1):
            try:
                future.result()
            except InputError as error:
                raise InputError(f"training of {names[future]} failed: {error}") from error
            progress.update(number)
    except BaseException as error:  # an interrupt, too: the pool would wait for trainings of minutes
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                "a training's process was killed (out of memory?); run again: it goes on from its last state"
            ) from error
        raise
    pool.shutdown()


def _end_with(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent answers it

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
