"""The notebook runner: output-free copies for DVC, execution through papermill, normalised executed copies.

DVC hashes a notebook as it lies there, so saving it in Jupyter with outputs would mark training as changed:
stages depend on the stripped copies in `.nb/` instead. Executed copies are normalised (no times, no random
cell ids), so that running a stage twice gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# jsonschema, which nbformat imports, would compile a grammar of web addresses: longer than all else that
# starts a stage. No notebook's schema asks for one, and jsonschema does without where the package is missing.
# ruff: noqa: E402 (so this stands before the import)
sys.modules.setdefault("rfc3987_syntax", None)

import nbformat

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths, repository_root
from solesearch.core.progress import PASSING, VARIABLE
from solesearch.core.provenance import reachable_code, references
from solesearch.pipeline.exercises import TAG

TRAINING = "02_train_infogan"
# stages that run a module instead of a notebook
STAGE_COMMANDS = {"weights": "solesearch.networks.weights", "charts": "solesearch.pipeline.charts"}

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}  # the environment's own Python
START_UP_LINE = re.compile(
    r"[IWEF]\d{4} \d\d:\d\d|WARNING: All log messages before absl|To enable the following instructions"
)
STATES = {None: "done in", KeyboardInterrupt: "interrupted after"}
HALF_FILE = re.compile(r"\..+\.(\d+)\.partial\.\w+")  # and the process that writes it: files.replacing
QUIET_INTERVAL_S = 20.0  # between progress lines where the output is no terminal


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy without outputs, counts, metadata that editing alone changes, and exercises."""
    clean = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    clean.nbformat_minor = 5
    kept = (cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", []))
    for number, cell in enumerate(kept):
        tags = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        clean.cells.append(make(cell.source, metadata=tags, id=f"cell-{number:02d}"))
    return clean


def normalised(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an executed notebook without what differs from run to run: times, ids, language details."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.get("tags", [])})
        outputs = [clean for output in cell.get("outputs", []) if (clean := without_log_lines(output))]
        cell.outputs = whole_streams(outputs)
        if cell.cell_type != "code":
            del cell["outputs"]
    return notebook


def whole_streams(outputs: Iterable[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return outputs with neighbours of one stream joined: where a kernel parts them is a matter of time."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if joined and "name" in output and output.get("name") == joined[-1].get("name"):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def without_log_lines(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Return an output without TensorFlow's start-up lines (they carry times); None when nothing is left."""
    if output.get("name") != "stderr":
        return output
    kept = [line for line in output.text.splitlines(keepends=True) if not START_UP_LINE.match(line)]
    output.text = "".join(kept)
    return output if output.text.strip() else None


def strip_all() -> list[Path]:
    """Write every notebook, stripped, to `.nb/<name>/`, its code list beside it; return the copies' paths.

    A code list names every file of the package that the notebook can reach, with a digest of what it says:
    a stage is stale when code that can change its numbers changed, and only then. Raises InputError for a
    notebook that is not valid JSON, has no parameters cell, or a cell that is no valid Python.
    """
    root, written = repository_root(), []
    for source in sorted((root / "notebooks").glob("*.ipynb")):
        notebook, target = stripped(read_notebook(source)), stripped_copy(source.stem)
        files.write_text(target, nbformat.writes(notebook) + "\n")
        write_code_list(target.parent, named_modules(notebook, path=source))
        written.append(target)
    for stage, module in STAGE_COMMANDS.items():
        write_code_list(root / ".nb" / stage, [module])
    return written


def stripped_copy(name: str) -> Path:
    """Return where the output-free copy of a notebook lies, say of `05_index`."""
    return repository_root() / ".nb" / name / f"{name}.ipynb"


def write_code_list(folder: Path, modules: Iterable[str]) -> None:
    """Write code.txt: digest and name of every file of our packages that `modules` reach."""
    listed = [f"{digest}  {name}\n" for name, digest in reachable_code(modules).items()]
    files.write_text(folder / "code.txt", "".join(listed))


def named_modules(notebook: nbformat.NotebookNode, *, path: Path) -> set[str]:
    """Return the modules of this package that a notebook's cells name; InputError for a broken cell."""
    from IPython.core.inputtransformer2 import TransformerManager

    found: set[str] = set()
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code":
            try:
                found |= references(TransformerManager().transform_cell(cell.source))  # %magic becomes a call
            except (SyntaxError, ValueError) as error:
                raise InputError(f"{path}: cell {number} is not valid Python ({error}); mend it") from error
    return found


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook; raises InputError that names the file when it is missing or broken."""
    if not path.is_file():
        raise InputError(f"{path}: no such notebook; `make repro` writes the copies in .nb/ from notebooks/")
    try:
        notebook = nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, KeyError) as error:
        raise InputError(
            f"{path}: not a valid notebook; restore it with `git checkout {path.name}`"
        ) from error
    if not any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells):
        raise InputError(f"{path}: no cell has the tag `parameters`, so no profile can be passed")
    return notebook


def run(name: str, *, profile: str) -> Path:
    """Execute `.nb/<name>.ipynb` for a profile; return the executed, normalised copy's path.

    Raises InputError with the notebook's own words when it met bad input, RuntimeError for any other
    failure; the copy as far as it came is kept beside the good one as `<name>.failed.ipynb`.
    """
    import papermill

    root, paths = repository_root(), Paths.of(profile)
    source, target = stripped_copy(name), paths.notebooks / f"{name}.ipynb"
    failed = target.with_suffix(".failed.ipynb")
    read_notebook(source)
    paths.notebooks.mkdir(parents=True, exist_ok=True)
    os.environ["SOLESEARCH_ROOT"] = str(root)
    try:
        with quiet_start_up() as terminal, Watch(f"{profile}/{name}", terminal) as watch:
            papermill.execute_notebook(
                str(source), str(failed), {"profile": profile},
                cwd=str(root), progress_bar=False, kernel_name="python3", kernel_manager_class=own_kernel(),
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        raise explained(error, failed) from error
    except KeyboardInterrupt:
        logging.getLogger("asyncio").disabled = True  # else it ends with the interrupted cell's traceback
        raise
    files.write_text(target, nbformat.writes(normalised(nbformat.read(failed, as_version=4))) + "\n")
    failed.unlink()
    clear_half_files(paths.run, paths.results, paths.figures)  # before DVC looks at what the stage left
    record(paths, name, watch)
    return target


def clear_half_files(*folders: Path) -> None:
    """Delete what `files.replacing` had begun in a process that is gone: a kill leaves no other trace."""
    import psutil

    for path in (path for folder in folders for path in folder.rglob(".*.partial.*")):
        if (begun := HALF_FILE.fullmatch(path.name)) and not psutil.pid_exists(int(begun[1])):
            path.unlink(missing_ok=True)


def own_kernel() -> type:
    """Return a kernel manager that starts this very Python, whatever kernel named python3 Jupyter finds."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    class OwnKernel(AsyncKernelManager):
        kernel_spec = property(lambda manager: KernelSpec(**get_kernel_dict()))

    return OwnKernel


@contextmanager
def quiet_start_up() -> Iterator[IO[str]]:
    """Keep what kernels and libraries print to standard error off the user's terminal.

    They write to file descriptor 2 itself, so replacing `sys.stderr` would not do. Gives a stream to the
    terminal; what was held back is shown after all when the block fails, since it may say why.
    """
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield terminal
        except RuntimeError:  # the kernel died or did not start
            held_back.seek(0)
            terminal.write(held_back.read())
            raise
        finally:
            os.dup2(terminal.fileno(), 2)
            terminal.close()


def explained(error, failed: Path) -> BaseException:
    """Return the exception to show for a failed notebook: the user's to mend, or a defect with its place."""
    if error.ename == "KeyboardInterrupt":
        return KeyboardInterrupt()
    if error.ename == "InputError":
        return InputError(str(error.evalue))
    return RuntimeError(
        f"{error.ename}: {error.evalue} (in {failed}, which shows the cell and the traceback)"
    )


def record(paths: Paths, name: str, watch: Watch) -> None:
    """Add this stage's seconds and peak memory to results/<profile>/run.json, beside the machine's facts.

    A training that was interrupted counts with all the seconds it took, not with those of its last part.
    """
    from solesearch.core.environment import machine

    target = paths.results / "run.json"
    known = json.loads(target.read_text()) if target.is_file() else {}
    stages = known.get("stages", {})
    seconds = watch.seconds
    if name == TRAINING:
        from solesearch.gan.training import seconds_spent

        seconds = max(seconds, seconds_spent(paths))
    stages[name] = {"seconds": round(seconds, 1), "peak_memory_mb": round(watch.peak_mb)}
    files.write_json(target, {**machine(), "stages": stages})


class Watch:
    """While a notebook runs: shows its progress, measures its time and the memory of all its processes."""

    def __init__(self, title: str, terminal: IO[str]):
        """Name the work as it is shown to the user, and the stream to show it on."""
        self.title, self.terminal, self.seconds, self.peak_mb = title, terminal, 0.0, 0.0
        self._resident = 0.0  # the most so far, in MiB, shared memory counted for each process
        self._stop, self._shown = threading.Event(), defaultdict[str, float](lambda: -QUIET_INTERVAL_S)

    def __enter__(self) -> Watch:
        """Start to follow; the kernel finds the file through the environment."""
        handle, os.environ[VARIABLE] = tempfile.mkstemp(prefix="solesearch-progress-")
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._follow, args=[handle], daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop, and say how long it took."""
        self._stop.set()
        self._thread.join()
        Path(os.environ.pop(VARIABLE)).unlink(missing_ok=True)
        self.seconds = time.monotonic() - self._started
        state = STATES.get(exception[0], "failed after")
        self._print(f"{state} {self.seconds:.0f} s, peak {self.peak_mb / 1024:.1f} GiB")

    def _follow(self, handle: int) -> None:
        with os.fdopen(handle, encoding="utf-8", newline="\n") as lines:
            ended = False
            while not ended:
                ended = self._stop.wait(0.5)
                self._weigh()
                for line in lines:  # a short notebook's last words, too
                    self._print(line.rstrip("\n"))

    def _weigh(self) -> None:
        """Look at the memory; closely only when it has grown, so as not to disturb what is being timed."""
        if (resident := tree_memory_mb(shared_once=False)) > self._resident:
            self._resident = resident
            self.peak_mb = max(self.peak_mb, tree_memory_mb(shared_once=True))

    def _print(self, line: str) -> None:
        """Show a line: one that passes in its place on a terminal, now and then in a log."""
        in_place, passing = self.terminal.isatty(), line.startswith(PASSING)
        task, now = line.partition(":")[0], time.monotonic()
        if passing and not in_place:
            if now - self._shown[task] < QUIET_INTERVAL_S:
                return
            self._shown[task] = now
        start, end = ("\r\x1b[K", "" if passing else "\n") if in_place else ("", "\n")
        words = f"{start}{self.title}: {line.removeprefix(PASSING)}"
        print(words, end=end, file=self.terminal, flush=True)


def tree_memory_mb(*, shared_once: bool) -> float:
    """Return the memory of this process and all its children, in MiB.

    `shared_once`: what several of them share, libraries and mapped photos, counts once, where the system
    tells (Linux: proportional set size). It takes some hundredths of a second, the other nothing.
    """
    import psutil

    total, me = 0, psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory = process.memory_full_info() if shared_once else process.memory_info()
            total += getattr(memory, "pss", memory.rss)
    return total / 2**20


def main() -> int:
    """Run `strip`, or `run NAME PROFILE`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("strip", help="write output-free copies to .nb/")
    runner = commands.add_parser("run", help="execute one notebook for one profile")
    runner.add_argument("name")
    runner.add_argument("profile")
    arguments = parser.parse_args()

    def work() -> None:
        if arguments.command == "strip":
            strip_all()
        else:
            run(arguments.name, profile=arguments.profile)

    return exit_status(work, also=RuntimeError)


if __name__ == "__main__":
    sys.exit(main())
