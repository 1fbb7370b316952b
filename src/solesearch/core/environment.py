"""What a result or a timing was computed on, as it is recorded beside it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from solesearch.core.errors import InputError
from solesearch.core.paths import repository_root

# Of each pair one is installed: the CPU or the GPU build.
RECORDED = ("tensorflow", "tensorflow-cpu", "keras", "faiss-cpu", "faiss-gpu", "numpy", "dvc", "papermill")
MARKETING = re.compile(r"\((?:R|TM)\)|\bCPU\b|\b\d+-Core\b|\bProcessor\b|@.*", re.IGNORECASE)


def machine() -> dict[str, Any]:
    """Return what a timing or a result depends on beside the code; nothing here names the host or its user.

    Keys: cpu (model), cores (logical, of the machine), memory_gb (GiB, one decimal), python, platform,
    versions (package -> version, installed ones only), git_commit (or why there is none).
    """
    import psutil

    return {
        "cpu": cpu_model(),
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}".rstrip(", "),
        "versions": installed_versions(),
        "git_commit": git_commit(),
    }


def machine_label() -> str:
    """Return the machine in a few words, say `AMD EPYC, 2 cores, 23 GiB`."""
    import psutil

    cores, gibibytes = psutil.cpu_count() or 1, psutil.virtual_memory().total // 2**30
    return f"{short_cpu(cpu_model())}, {cores} core{'s' if cores > 1 else ''}, {gibibytes} GiB"


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as the system gives it; its architecture where it gives none."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
    brand = _answer(["sysctl", "-n", "machdep.cpu.brand_string"]) if sys.platform == "darwin" else ""
    return named[1].strip() if named else brand or platform.processor() or platform.machine()


def short_cpu(model: str) -> str:
    """Return a processor's name without trademark signs, clock rate and core count."""
    return " ".join(MARKETING.sub(" ", model).split()) or "unknown processor"


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on, read from their metadata, not by import."""
    versions = {}
    for name in RECORDED:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def git_commit() -> str:
    """Return the commit of the repository this runs in; `no git` in a ZIP, outside, or without the program.

    A ZIP unpacked inside somebody else's repository has no commit of its own, so the top folders must agree.
    """
    try:
        root = repository_root()
    except InputError:
        return "no git"
    top = _answer(["git", "-C", str(root), "rev-parse", "--show-toplevel"])
    if not top or Path(top).resolve() != root:
        return "no git"
    return _answer(["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]) or "no commit yet"


def _answer(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
