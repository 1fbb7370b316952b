"""A notebook opened on a fresh clone, where nothing has run: its last line says what to do, nothing more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_runs import environment

ALONE = """
import json, sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for path in map(Path, sys.argv[1:]):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            result = shell.run_cell("".join(cell["source"]), silent=True)
            if not result.success:
                error = result.error_in_exec or result.error_before_exec
                print("ENDED", path.stem, type(error).__name__, str(error).replace(chr(10), " "))
                break
    else:
        print("ENDED", path.stem, "whole")
"""


@pytest.mark.slow
def test_every_notebook_says_make_repro_in_one_line(repository: Path) -> None:
    """In one process, so that TensorFlow starts once; 01 needs nothing and is left out."""
    notebooks = sorted((repository / "notebooks").glob("*.ipynb"))[1:]
    ended = subprocess.run(
        [sys.executable, "-c", ALONE, *(path.name for path in notebooks)],
        cwd=repository / "notebooks", env={**environment(repository), "IPYTHONDIR": os.devnull},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line.split(maxsplit=3) for line in ended.stdout.splitlines() if line.startswith("ENDED")]
    assert len(lines) == len(notebooks), ended.stdout[-2000:] + ended.stderr[-2000:]
    for _, name, *said in lines:
        assert said[0] == "InputError", (name, said)
        assert "make repro" in said[1], (name, said)
    assert "Traceback" not in ended.stdout
