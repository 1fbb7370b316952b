"""The one exception that a user is meant to read, and how a command ends with it."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

INTERRUPTED = 130  # what a shell gives a command that Ctrl-C ended
INTERRUPTION = "interrupted; the same command goes on where it stopped"


class InputError(ValueError):
    """Bad input: one line that names the file or value and the way out.

    The command line prints it without a traceback; everything else that is raised is a defect.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows below a cell: the line alone, which is all that its reader can use."""
        return [f"InputError: {self}"]


def not_made_yet(path: Path, *, made_by: str) -> InputError:
    """Return the error for a file that is missing, say on a fresh clone; a stage's has one way to be made."""
    folders = path.parts[:-1]
    found = [folders[at + 1] for at, name in enumerate(folders[:-1]) if name in ("runs", "results")]
    profile = f" PROFILE={found[-1]}" if found else ""
    way_out = f": run `make repro{profile}`" if made_by.startswith(("stage ", "the pipeline")) else ""
    return InputError(f"{path}: not there yet; {made_by} writes it{way_out}")


def end_at_once(number: int, frame: FrameType | None) -> None:
    """Be the handler of SIGINT while a command still imports: its one line, and out.

    An exception would not do: NumPy's import turns a KeyboardInterrupt into an ImportError of its own.
    """
    print(INTERRUPTION, file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def exit_status(work: Callable[[], object], *, also: type[Exception] = InputError) -> int:
    """Do `work` and return the status a command exits with: 0, the number it returns, or 1 after bad input.

    Bad input (and what is raised `also`) is told in one line. So is Ctrl-C, which exits with 130: what was
    reached is kept, and the same command goes on from there.
    """
    if signal.getsignal(signal.SIGINT) is end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on it may tidy up
    try:
        answer = work()
    except (InputError, also) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(INTERRUPTION, file=sys.stderr)
        return INTERRUPTED
    return answer if type(answer) is int else 0
