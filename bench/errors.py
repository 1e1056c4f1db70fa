"""What the command line reports in one line."""


class InputError(Exception):
    """Something the user wrote is wrong: the message says what, where and what to do. Exit code 2."""


class TaskError(Exception):
    """A task cannot be done for a reason that is not a bug: becomes a row's status, not a traceback."""
