"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Bad input: one line that names the file or value and the way out.

    The command line prints it without a traceback; everything else that is raised is a defect.
    """
