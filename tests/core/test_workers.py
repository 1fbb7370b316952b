"""A pool's processes must not outlive the one that made them."""

import os
import signal
import subprocess
import sys
import time

import psutil


def test_results_come_back_in_order() -> None:
    from solesearch.core.workers import process_pool

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
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [worker for worker in workers if psutil.pid_exists(worker)]
