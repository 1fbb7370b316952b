"""Running the pipeline as a user does: a copy of the repository, its commands, its environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
SMOKE = Path(__file__).with_name("smoke.yaml")


def environment(root: Path) -> dict[str, str]:
    dropped = ("SOLESEARCH_ROOT", "SOLESEARCH_PROGRESS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(root / "src")}


def run(root: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess:
    ended = subprocess.run(
        command, cwd=root, env=environment(root), capture_output=True, text=True, check=False
    )
    assert not check or ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended


# What somebody who runs the pipeline changes; tests take it as it is committed (or staged).
RECORDS = ("params.yaml", "dvc.lock", "data.dvc", "README.md", "docs", "results", "figures")
NOT_HANDED_OUT = (
    ".git",
    ".venv",
    ".venv-gpu",
    "runs",
    ".nb",
    "cache",
    "tmp",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    "*.h5",
)


def handed_out(source: Path, target: Path) -> Path:
    """Copy what Git would hand out: code as it lies there, new files too, but settings and results as staged.

    From a ZIP without Git everything is copied but environment, runs, caches and weights. The tests' own
    profile `smoke` is put into its params.yaml.
    """
    if not (source / ".git").exists():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_HANDED_OUT), symlinks=True)
        return with_smoke(target)
    listed = run(source, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    known = run(source, "git", "ls-files", "--cached", "-z", "--", *RECORDS).stdout
    records = set(filter(None, known.split("\0")))
    for name in set(filter(None, listed.split("\0"))) - records:
        if (source / name).is_file() and name.split("/")[0] not in RECORDS:  # not a profile of the user's own
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    run(source, "git", "checkout-index", "--force", f"--prefix={target}/", "--", *sorted(records))
    return with_smoke(target)


def with_smoke(target: Path) -> Path:
    """Add profile `smoke`: seconds, not minutes; and the slot that every profile has."""
    with (target / "params.yaml").open("a", encoding="utf-8") as params:
        params.write("\n" + SMOKE.read_text(encoding="utf-8"))
    (target / "data" / "smoke").mkdir(parents=True)
    (target / "data" / "smoke" / "README.md").write_text("Drawn by code.\n")
    return target


def copy_of(repository: Path, target: Path, *, profiles: str) -> Path:
    """Copy what was handed out and choose the profiles."""
    shutil.copytree(repository, target, symlinks=True)
    params = target / "params.yaml"
    text, count = re.subn(r"(?m)^profiles:\n(  - \w+\n)+", f"profiles:\n{profiles}", params.read_text())
    assert count == 1
    params.write_text(text)
    return target
