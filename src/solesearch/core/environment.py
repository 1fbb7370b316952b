"""What a result was computed on, and the environment files: one list of pins, two ways to install it.

requirements.lock is the source of every exact version; environment.yml repeats those of the packages that
pyproject.toml names, for conda. `python -m solesearch.core.environment` prints the machine,
`--write-conda` writes environment.yml, `--check` says what does not fit together.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import repository_root

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Of each pair one is installed: the CPU or the GPU build.
RECORDED = ("tensorflow", "tensorflow-cpu", "keras", "faiss-cpu", "faiss-gpu", "numpy", "dvc", "papermill")
NO_GIT = "no git"
UNKNOWN_CPU = "unknown processor"
MARKETING = re.compile(r"\((?:R|TM)\)|\bCPU\b|\b\d+-Core\b|\bProcessor\b|@.*", re.IGNORECASE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?![0-9a-f])")
CONDA_HEADER = """\
# Written by `python -m solesearch.core.environment --write-conda` from pyproject.toml and requirements.lock.
# Edit those, not this file.
#   conda env create --file environment.yml && conda activate solesearch
#   pip install --no-deps --no-build-isolation --editable .
# It pins what the project names itself; requirements.lock pins every package with its hash (`make`).
"""


# --- the machine -----------------------------------------------------------------------------------------


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


# --- the pins --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pin:
    """One package of requirements.lock."""

    name: str
    version: str
    marker: str  # environment marker, "" for everywhere
    hashes: int


def locked(text: str) -> dict[str, list[Pin]]:
    """Return normalised name -> pins of a lock's text (several where a marker picks one of them).

    Raises InputError for a line that pins nothing.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    pins = {}
    for line in text.replace("\\\n", " ").splitlines():
        entry = line.split("#", 1)[0].strip()
        if not entry:
            continue
        try:
            wanted = Requirement(entry.split("--hash", 1)[0].strip())
            (exact,) = [part.version for part in wanted.specifier if part.operator == "=="]
        except (InvalidRequirement, ValueError) as error:
            raise InputError(f"requirements.lock: {entry[:60]!r} pins no version; run `make lock`") from error
        marker = str(wanted.marker or "")
        pin = Pin(wanted.name, exact, marker, len(HASH.findall(entry)))
        pins.setdefault(canonicalize_name(wanted.name), []).append(pin)
    return pins


def direct_dependencies(pyproject: dict[str, Any]) -> list[Requirement]:
    """Return what pyproject.toml names itself: the dependencies, those of the tests, those of the stores."""
    from packaging.requirements import Requirement

    project = pyproject["project"]
    extras = project.get("optional-dependencies", {})
    locked_extras = (line for extra in ("test", "stores") for line in extras.get(extra, []))
    return [Requirement(line) for line in (*project["dependencies"], *locked_extras)]


def lock_faults(text: str, direct: list[Requirement]) -> list[str]:
    """Return what is wrong with a lock's text, one line each: hashes, hosts, missing or stale packages."""
    from packaging.utils import canonicalize_name

    pins = locked(text)
    faults = [f"{pin.name}: no --hash" for several in pins.values() for pin in several if not pin.hashes]
    faults += [f"line {n} names a host" for n, line in enumerate(text.splitlines(), 1) if "://" in line]
    for wanted in direct:
        found = pins.get(canonicalize_name(wanted.name), [])
        if not found:
            faults.append(f"{wanted.name}: named by pyproject.toml but not locked")
        stale = [pin for pin in found if not wanted.specifier.contains(pin.version)]
        faults += [f"{pin.name}: locked at {pin.version}, not {wanted.specifier}" for pin in stale]
    return faults


def conda_environment(root: Path) -> str:
    """Return the text of environment.yml for the repository at `root`.

    Raises InputError when requirements.lock lacks one of pyproject.toml's packages.
    """
    from packaging.utils import canonicalize_name

    pyproject, lock = _read_project(root)
    direct, pins = direct_dependencies(pyproject), locked(lock)
    lines = [CONDA_HEADER + f"name: {pyproject['project']['name']}", "channels:", "  - conda-forge"]
    python = re.search(r">=\s*(\d+\.\d+)", pyproject["project"]["requires-python"])
    lines += ["dependencies:", f"  - python={python.group(1)}", "  - pip", "  - pip:"]
    for wanted in direct:
        found = pins.get(canonicalize_name(wanted.name))
        if not found:
            raise InputError(f"requirements.lock: lacks {wanted.name} of pyproject.toml; run `make lock`")
        for pin in found:
            marker = f"; {pin.marker}".replace('"', "'") if pin.marker else ""
            lines.append(f'      - "{pin.name}=={pin.version}{marker}"')
            lines += _gpu_lines(pin.name, pin.version)
    return "\n".join(lines) + "\n"


def _gpu_lines(name: str, exact: str) -> list[str]:
    """Return the commented lines that stand below the CPU build of a package."""
    if name == "tensorflow-cpu":
        return [
            "      # NVIDIA GPU on Linux (pip brings CUDA 12, the driver is yours): this line INSTEAD",
            f'      # - "tensorflow[and-cuda]=={exact}"',
        ]
    if name == "faiss-cpu":
        return [
            "      # GPU search (CUDA 12): this line INSTEAD, since both write the folder faiss/",
            f'      # - "faiss-gpu=={exact}"',
        ]
    return []


def environment_faults(root: Path) -> list[str]:
    """Return what does not fit together in pyproject.toml, requirements.lock and environment.yml."""
    pyproject, lock = _read_project(root)
    faults = [f"requirements.lock: {fault}" for fault in lock_faults(lock, direct_dependencies(pyproject))]
    if faults:
        return faults
    conda = root / "environment.yml"
    if not conda.is_file() or conda.read_text(encoding="utf-8") != conda_environment(root):
        faults.append(
            "environment.yml: differs from the lock; `python -m solesearch.core.environment --write-conda`"
        )
    return faults


def _read_project(root: Path) -> tuple[dict[str, Any], str]:
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text), (root / "requirements.lock").read_text(encoding="utf-8")
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{root}: pyproject.toml or requirements.lock cannot be read ({error})") from error


def _write_conda(root: Path) -> int:
    from solesearch.core import files

    files.write_text(root / "environment.yml", conda_environment(root))
    print("environment.yml written")
    return 0


def _check(root: Path) -> int:
    faults = environment_faults(root)
    print("\n".join(faults) or "environment.yml and requirements.lock fit pyproject.toml")
    return 1 if faults else 0


def main(arguments: list[str] | None = None) -> int:
    """Print the machine, or write and check the environment files."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.core.environment", description=main.__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write-conda", action="store_true", help="write environment.yml from the lock")
    choice.add_argument("--check", action="store_true", help="exit 1 when lock, pyproject and conda disagree")
    chosen = parser.parse_args(arguments)

    def work() -> int | None:
        if chosen.write_conda:
            return _write_conda(repository_root())
        if chosen.check:
            return _check(repository_root())
        return print(json.dumps(machine(), indent=2))

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
