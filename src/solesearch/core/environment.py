"""What a result or a timing was computed on, as it is recorded beside it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from solesearch.core.errors import InputError
from solesearch.core.paths import repository_root

# Of each pair one is installed: the CPU or the GPU build.
RECORDED = ("tensorflow", "tensorflow-cpu", "keras", "faiss-cpu", "faiss-gpu", "numpy", "dvc", "papermill")
NO_GIT = "no git"
UNKNOWN_CPU = "unknown processor"
MARKETING = re.compile(r"\((?:R|TM)\)|\bCPU\b|\b\d+-Core\b|\bProcessor\b|@.*", re.IGNORECASE)


def machine() -> dict[str, Any]:
    """Return what a timing or a result depends on beside the code; nothing here names the host or its user.

    Keys: cpu (model), cores (logical, of the machine), memory_gb (GiB, one decimal), python, platform,
    versions (package -> version, installed ones only), git_commit (40 hex digits, or why there is none).
    """
    import psutil

    return {
        "cpu": cpu_model(),
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "platform": platform_label(),
        "versions": installed_versions(),
        "git_commit": git_commit(),
    }


def machine_label() -> str:
    """Return the machine in a few words, say `AMD EPYC, 2 cores, 23 GiB`."""
    import psutil

    cores = psutil.cpu_count() or 1
    gibibytes = psutil.virtual_memory().total // 2**30
    return f"{short_cpu(cpu_model())}, {cores} core{'s' if cores > 1 else ''}, {gibibytes} GiB"


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as the system gives it; `unknown processor` where it gives none."""
    if cpuinfo.is_file():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
        if named:
            return named.group(1).strip()
    brand = _answer(["sysctl", "-n", "machdep.cpu.brand_string"]) if sys.platform == "darwin" else None
    return brand or platform.processor() or platform.machine() or UNKNOWN_CPU


def platform_label() -> str:
    """Return system, architecture and C library, say `Linux x86_64, glibc 2.36`; no kernel build, no host."""
    library = " ".join(platform.libc_ver()).strip()
    return f"{platform.system()} {platform.machine()}" + (f", {library}" if library else "")


def short_cpu(model: str) -> str:
    """Return a processor's name without trademark signs, clock rate and core count."""
    return " ".join(MARKETING.sub(" ", model).split()) or UNKNOWN_CPU


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on, read from their metadata, not by import."""
    found = {}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Return the commit of the repository this runs in; `no git` in a ZIP, outside, or without the program.

    A ZIP unpacked inside somebody else's repository has no commit of its own, so the top folders must agree.
    """
    try:
        root = repository_root()
    except InputError:
        return NO_GIT
    top = _answer(["git", "-C", str(root), "rev-parse", "--show-toplevel"])
    if top is None or Path(top).resolve() != root:
        return NO_GIT
    return _answer(["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]) or "no commit yet"


def _answer(command: list[str]) -> str | None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None
