"""Work side by side: processes that end with the one that started them, also when that one is killed."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from solesearch.core.errors import InputError
from solesearch.core.progress import Progress

LOOK_EVERY_S = 0.5


class ProcessPool(ProcessPoolExecutor):
    """Python's pool, which ends at once when a `with` block fails; his would finish the work it was given."""

    def end(self) -> None:
        """End the processes, whatever they do, and wait until they are gone."""
        processes = list((self._processes or {}).values())  # Python 3.14's terminate_workers does the same
        self.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Wait for the work, or end it after an error or an interrupt."""
        if kind is not None:
            self.end()
        self.shutdown()


def process_pool(workers: int) -> ProcessPool:
    """Return a pool of `workers` processes.

    Spawned, not forked: the caller may hold threads of a network library. A worker of Python's pool waits for
    work for ever when its parent is killed, so each one here watches its parent.
    """
    return ProcessPool(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with,
        initargs=(os.getpid(),),
    )


@contextmanager
def ended_on_error(pools: Iterable[Executor], *, work: str) -> Iterator[None]:
    """End all `pools` at once when the block fails or is interrupted; else leave them as they are.

    Raises InputError that names the `work` where a process was killed.
    """
    try:
        yield
    except BaseException as error:  # an interrupt, too: the pools would finish trainings of minutes
        for pool in pools:
            if isinstance(pool, ProcessPool):
                pool.end()
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                f"{work}: its process was killed (out of memory?); run again: it goes on from what is kept"
            ) from error
        raise


def free_memory() -> None:
    """Drop what nothing refers to any more and give its memory back; glibc alone would keep much of it."""
    gc.collect()  # a network refers to itself
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def run_trainings(train: Callable[..., Any], trainings: Mapping[str, tuple], *, at_once: int) -> None:
    """Call `train(*arguments)` for each named training, `at_once` side by side, each in a process.

    A process of its own, because threads and determinism are settled before TensorFlow starts; it takes one
    training after the other, because that start takes as long as a short training. Raises InputError with
    the name and the words of the first that fails; the others are then ended.
    """
    if not trainings:
        return
    progress = Progress("trainings", total=len(trainings), unit="training")
    pool = process_pool(min(at_once, len(trainings)))
    with ended_on_error([pool], work="a training"), pool:
        names = {pool.submit(train, *arguments): name for name, arguments in trainings.items()}
        for number, future in enumerate(as_completed(names), start=1):
            try:
                future.result()
            except InputError as error:
                raise InputError(f"training of {names[future]} failed: {error}") from error
            progress.update(number)


def _end_with(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent answers it

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
