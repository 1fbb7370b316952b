"""A pool's processes must not outlive the one that made them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from solesearch.core.errors import InputError
from solesearch.core.workers import ended_on_error, process_pool, run_trainings

LONG_S = 60


def one_fails(name: str) -> None:
    """Stand for a training: the one called bad meets bad input, the others take a minute."""
    if name == "bad":
        raise InputError("no photos")
    time.sleep(LONG_S)


def wait_for_end(workers: list[int], *, seconds: float = 20) -> list[int]:
    """Return which of the processes live on after so long."""
    deadline = time.monotonic() + seconds
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [worker for worker in workers if psutil.pid_exists(worker)]


def children() -> set[int]:
    """Return the processes that this one has started and that still live, Python's own helpers left out."""
    found = psutil.Process().children()
    return {one.pid for one in found if "resource_tracker" not in " ".join(one.cmdline())}


def test_results_come_back_in_order() -> None:
    with process_pool(2) as pool:
        assert list(pool.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]


def test_idle_workers_end_when_their_parent_is_killed() -> None:
    script = (
        "import os, time\n"
        "from solesearch.core.workers import process_pool\n"
        "if __name__ == '__main__':\n"
        "    pool = process_pool(2)\n"
        "    found = [pool.submit(os.getpid) for _ in range(8)]\n"
        "    print(*{one.result() for one in found}, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    workers = [int(number) for number in parent.stdout.readline().split()]
    assert workers and all(psutil.pid_exists(worker) for worker in workers)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert not wait_for_end(workers)


def test_a_pools_block_that_fails_ends_its_processes_at_once() -> None:
    before, started = children(), time.monotonic()
    with pytest.raises(KeyboardInterrupt), process_pool(1) as pool:
        worker = pool.submit(os.getpid).result()
        pool.submit(time.sleep, LONG_S)
        raise KeyboardInterrupt
    assert time.monotonic() - started < LONG_S / 2 and not psutil.pid_exists(worker)
    assert children() <= before


def test_an_error_ends_every_pool_and_success_none() -> None:
    pools = [process_pool(1), process_pool(1)]
    with ended_on_error(pools, work="embedding"):
        workers = [pool.submit(os.getpid).result() for pool in pools]
    assert all(map(psutil.pid_exists, workers))
    with pytest.raises(InputError, match="bad input"), ended_on_error(pools, work="embedding"):
        pools[0].submit(time.sleep, LONG_S)
        raise InputError("bad input")
    assert not [worker for worker in workers if psutil.pid_exists(worker)]


def test_a_killed_process_is_one_line_that_names_its_work() -> None:
    line = "network VGG16: its process was killed (out of memory?); run again: it goes on from what is kept"
    pool = process_pool(1)
    with pytest.raises(InputError) as caught, ended_on_error([pool], work="network VGG16"):
        pool.submit(os._exit, 1).result()
    assert str(caught.value) == line


def test_trainings_end_with_the_first_that_fails() -> None:
    before, started = children(), time.monotonic()
    with pytest.raises(InputError, match=r"^training of seed 2 failed: no photos$"):
        run_trainings(one_fails, {"seed 1": ("long",), "seed 2": ("bad",)}, at_once=2)
    assert time.monotonic() - started < LONG_S / 2 and children() <= before


def interruptible() -> None:
    """Let Ctrl-C reach a process, also when the tests run in a shell's background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_trainings_at_once(tmp_path: Path) -> None:
    script = tmp_path / "trainings.py"
    script.write_text(
        "import os, sys, time\n"
        "from solesearch.core.workers import run_trainings\n"
        "def train(name):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    run_trainings(train, {'a': ('a',), 'b': ('b',)}, at_once=2)\n",
        encoding="utf-8",
    )
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    options["preexec_fn"] = interruptible
    parent = subprocess.Popen([sys.executable, str(script)], **options)
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.send_signal(signal.SIGINT)
    assert parent.wait(timeout=20) != 0
    assert not wait_for_end(workers, seconds=5)
