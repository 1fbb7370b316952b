"""Running the pipeline as a user does: a copy of the repository, its commands, its environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


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


def copy_of(repository: Path, target: Path, *, profiles: str) -> Path:
    """Copy what Git would hand out (committed and new files, nothing ignored) and choose the profiles."""
    listed = run(repository, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (repository / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, target / name)
    params = target / "params.yaml"
    text, count = re.subn(r"(?m)^profiles:\n(  - \w+\n)+", f"profiles:\n{profiles}", params.read_text())
    assert count == 1
    params.write_text(text)
    return target
