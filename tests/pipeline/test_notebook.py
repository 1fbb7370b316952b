"""The notebook runner, on small notebooks of its own, and rules that every committed notebook keeps."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.pipeline import notebook
from solesearch.pipeline.notebook import tree_memory_mb

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def write_notebook(folder: Path, name: str, *cells: str, outputs: bool = False) -> None:
    made = nbformat.v4.new_notebook(metadata={"kernelspec": notebook.KERNEL})
    first = nbformat.v4.new_code_cell("profile = 'smoke'", metadata={"tags": ["parameters"]})
    made.cells = [first, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    if outputs:
        made.cells[0].execution_count = 3
        made.cells[0].outputs = [nbformat.v4.new_output("stream", text="seen")]
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, folder / f"{name}.ipynb")


def test_stripped_copy_is_the_same_with_and_without_outputs(workspace: Path) -> None:
    write_notebook(workspace / "notebooks", "one", "1 + 1")
    [path] = notebook.strip_all()
    clean = path.read_bytes()
    write_notebook(workspace / "notebooks", "one", "1 + 1", outputs=True)
    assert notebook.strip_all()[0].read_bytes() == clean
    assert b"seen" not in clean


@pytest.mark.slow
def test_run_twice_gives_the_same_bytes_and_records_the_stage(workspace: Path) -> None:
    write_notebook(workspace / ".nb" / "one", "one", "print(profile)")
    first = notebook.run("one", profile="smoke").read_bytes()
    second = notebook.run("one", profile="smoke").read_bytes()
    assert first == second
    assert b"smoke" in first
    stage = json.loads((Paths.of("smoke").results / "run.json").read_text())["stages"]["one"]
    assert stage["seconds"] > 0 and stage["peak_memory_mb"] > 20


@pytest.mark.slow
def test_bad_input_is_one_line_and_the_failed_copy_is_kept(workspace: Path) -> None:
    raising = (
        "from solesearch.core.errors import InputError\nraise InputError('photos.csv: empty; add photos')"
    )
    write_notebook(workspace / ".nb" / "one", "one", raising)
    command = [sys.executable, "-m", "solesearch.pipeline.notebook", "run", "one", "smoke"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "error: photos.csv: empty; add photos" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (Paths.of("smoke").notebooks / "one.failed.ipynb").is_file()
    assert not (Paths.of("smoke").notebooks / "one.ipynb").exists()


@pytest.mark.slow
def test_a_defect_names_the_copy_that_shows_it(workspace: Path) -> None:
    write_notebook(workspace / ".nb" / "one", "one", "1 / 0")
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: division by zero .*one\.failed\.ipynb"):
        notebook.run("one", profile="smoke")


def test_broken_and_missing_notebooks_are_named(workspace: Path) -> None:
    (workspace / "notebooks").mkdir()
    (workspace / "notebooks" / "bad.ipynb").write_text("{ not json")
    with pytest.raises(InputError, match=r"bad\.ipynb: not a valid notebook"):
        notebook.strip_all()
    nbformat.write(nbformat.v4.new_notebook(), workspace / "notebooks" / "bad.ipynb")
    with pytest.raises(InputError, match="no cell has the tag `parameters`"):
        notebook.strip_all()
    with pytest.raises(InputError, match="no such notebook"):
        notebook.run("missing", profile="smoke")


def test_progress_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLESEARCH_PROGRESS", str(tmp_path / "progress"))
    progress = Progress("InfoGAN seed 1", total=10, unit="step", done=4)
    progress.update(5)
    progress.update(6)  # within the same second: not reported
    progress.update(10)  # the end is always reported
    first, last = (tmp_path / "progress").read_bytes().decode().split("\n\r")
    assert re.fullmatch(r"\r?InfoGAN seed 1: step 5 of 10, \d+ s left", first)
    assert last == "InfoGAN seed 1: step 10 of 10\n"


def test_no_time_left_is_told_from_the_first_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLESEARCH_PROGRESS", str(tmp_path / "progress"))
    Progress("drawing", total=1000, unit="photo").update(1)
    assert (tmp_path / "progress").read_text().strip() == "drawing: photo 1 of 1000"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_keep_the_rules(path: Path) -> None:
    """No outputs, no helpers, a cell that fits one glance, and the frame that every notebook shares."""
    read = nbformat.read(path, as_version=4)
    nbformat.validate(read)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1
    for cell in code:
        lines = [line for line in cell.source.splitlines() if line.strip()]
        steps = [line for line in lines if not line.startswith(("#", "import ", "from "))]
        assert len(steps) <= 14, cell.source
        assert not any(line.startswith(("class ", "%", "!")) for line in lines)
    text = "\n".join(cell.source for cell in read.cells if cell.cell_type == "markdown")
    frame = ("| Inputs |", "| Outputs |", "| Minutes |", "## What we learned", "## Exercises", "**Next:**")
    for part in frame:
        assert part in text
    for word in ("just ", "simply", "easily"):
        assert word not in text.lower()
    assert read.cells[0].source.startswith("# ")


def test_there_are_notebooks() -> None:
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(1, 15))


def test_start_up_lines_go_and_warnings_stay() -> None:
    noise = "I0000 00:00:1795426931.448682   16259 port.cc:153] oneDNN custom operations are on.\n"
    noise += "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    stream = nbformat.v4.new_output("stream", name="stderr", text=noise + "UserWarning: look here\n")
    assert notebook.without_log_lines(stream).text == "UserWarning: look here\n"
    assert notebook.without_log_lines(nbformat.v4.new_output("stream", name="stderr", text=noise)) is None
    kept = nbformat.v4.new_output("stream", name="stdout", text=noise)
    assert notebook.without_log_lines(kept).text == noise


MAPPED = """
import sys, numpy as np
pixels = np.load(sys.argv[1], mmap_mode="r")
print(pixels.sum(), flush=True)  # every page is read
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes share")
def test_photos_that_two_processes_map_count_once(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.ones(100 * 2**20, np.uint8))
    before = [tree_memory_mb(shared_once=once) for once in (False, True)]
    command, pipes = [sys.executable, "-c", MAPPED, str(tmp_path / "pixels.npy")], {"stdin": -1, "stdout": -1}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        for process in (first, second):
            process.stdout.readline()
        each, once = (
            tree_memory_mb(shared_once=way) - had for way, had in zip((False, True), before, strict=True)
        )
        first.stdin.close(), second.stdin.close()
    assert each > 200 and 100 < once < each - 90  # 100 MiB, mapped twice


KILLED_WHILE_WRITING = """
import os, sys
from pathlib import Path
from solesearch.core.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), 9)
"""


def test_a_stream_that_came_in_parts_is_one_output() -> None:
    """print sends its text and its line break apart, and whether they arrive together is a matter of time."""
    stream = lambda name, text: nbformat.v4.new_output("stream", name=name, text=text)  # noqa: E731
    parts = [stream("stdout", "Right."), stream("stdout", "\n"), stream("stderr", "careful\n")]
    shown = nbformat.v4.new_output("execute_result", data={"text/plain": "1"})
    cell = nbformat.v4.new_code_cell("", outputs=[*parts, shown, stream("stdout", "last\n")])
    made = notebook.normalised(nbformat.v4.new_notebook(cells=[cell])).cells[0].outputs
    assert [one.get("text", "result") for one in made] == ["Right.\n", "careful\n", "result", "last\n"]


def test_half_a_file_that_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    """Its name tells the process; what a living one writes stays, and so does every other file."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as alive:
        killed = subprocess.Popen(
            [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path / "deep" / "state.npz")]
        )
        assert killed.wait() == -9
        [left] = (tmp_path / "deep").iterdir()
        kept = [left.with_name(name) for name in (f".state.{alive.pid}.partial.npz", ".arrivals.partial.npz")]
        for path in kept:
            path.write_bytes(b"")
        notebook.clear_half_files(tmp_path)
        assert sorted((tmp_path / "deep").iterdir()) == sorted(kept)
