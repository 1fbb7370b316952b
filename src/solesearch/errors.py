"""The one exception that a user is meant to read, and how a command ends with it."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input: one line that names the file or value and the way out.

    The command line prints it without a traceback; everything else that is raised is a defect.
    """


def exit_status(work: Callable[[], object]) -> int:
    """Do `work` and return the status a command exits with: 0, or 1 after one line on bad input."""
    try:
        work()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
