"""`make ... GPU=1`: what TensorFlow and FAISS see of NVIDIA GPUs, in one line before anything is computed.

A process of its own, which ends at once: asking takes some of a GPU's memory.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
from contextlib import suppress

from solesearch.core.errors import InputError, exit_status
from solesearch.core.repeatable import gpus_hidden

LEAST_CUDA = 12  # the wheels' own: every driver made for CUDA 12 takes them, that is NVIDIA 525 or newer
WITHOUT = "or leave GPU=1 out (docs/gpu.md)"


def described(names: list[str], memory: dict[str, int]) -> str:
    """Return `1 GPU (NVIDIA H200, 139 GiB)` from GPUs' names and name -> MiB; `no GPU` without any."""
    if not names:
        return "no GPU"
    sizes = {name: f", {memory[name] / 1024:.0f} GiB" if name in memory else "" for name in names}
    kinds = "; ".join(f"{name}{size}" for name, size in sizes.items())
    return f"{len(names)} GPU{'s' if len(names) > 1 else ''} ({kinds}{' each' if len(names) > 1 else ''})"


def memories() -> dict[str, int]:
    """Return GPU's name -> MiB of memory as nvidia-smi has it; {} where that is missing or fails."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return {name: int(size) for name, size in (line.rsplit(", ", 1) for line in told.splitlines())}
    return {}


def driver_fault() -> str:
    """Return what is wrong with the NVIDIA driver, and the way out; "" where nothing is."""
    if gpus_hidden():
        return f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']} hides every GPU: unset it"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return (
            "there is no NVIDIA driver (libcuda.so.1 cannot be loaded): install it, 525 or newer; in a "
            "container, start that with `--gpus all`"
        )
    version = ctypes.c_int()  # 12090 is CUDA 12.9
    if driver.cuDriverGetVersion(ctypes.byref(version)) or version.value < LEAST_CUDA * 1000:
        has = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return f"the NVIDIA driver is too old (for CUDA {has}): install 525 or newer"
    return ""


def check_seen(tensorflow: list[str], faiss: int) -> None:
    """Raise InputError with the reason and the way out where one of the two sees no GPU."""
    blind = [name for name, count in (("TensorFlow", len(tensorflow)), ("FAISS", faiss)) if not count]
    if not blind:
        return
    ask = "import tensorflow as tf; tf.config.list_physical_devices('GPU')"
    fault = driver_fault() or f'a driver is there; `nvidia-smi` and `{sys.executable} -c "{ask}"` say more'
    raise InputError(f"{' and '.join(blind)} see{'s' * (len(blind) < 2)} no GPU: {fault}; {WITHOUT}")


def look(*, needed: bool) -> None:
    """Print what both see; raises InputError where one sees nothing and a GPU is `needed`.

    Also where this is the environment without CUDA.
    """
    import tensorflow as tf

    import faiss  # isort: skip  # after TensorFlow

    if not tf.test.is_built_with_cuda() or not hasattr(faiss, "StandardGpuResources"):
        raise InputError(f"{sys.prefix} is the environment without CUDA: run `make` with GPU=1")
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    names = [detail.get("device_name", "unknown") for detail in details]
    count = faiss.get_num_gpus()
    counted = f"{count or 'no'} GPU{'s' if count > 1 else ''}"
    seen = described(names, memories())
    print(f"TensorFlow {tf.__version__}: {seen}; FAISS {faiss.__version__}: {counted}", flush=True)
    try:
        check_seen(names, count)
    except InputError as error:
        if needed:
            raise
        print(f"Without a GPU this goes on, on the processor: {error}", flush=True)


def main() -> int:
    """Say what TensorFlow and FAISS see of GPUs: `python -m solesearch.core.gpu [--needed]`."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.core.gpu", description=main.__doc__)
    parser.add_argument("--needed", action="store_true", help="exit with 1 where one of them sees none")
    needed = parser.parse_args().needed
    return exit_status(lambda: look(needed=needed))


if __name__ == "__main__":
    sys.exit(main())
