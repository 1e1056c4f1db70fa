"""What the command line reports in one line."""


class InputError(Exception):
    """Something the user wrote is wrong: the message says what, where and what to do. Exit code 2."""


class TaskError(Exception):
    """A task cannot be done for a reason that is not a bug: becomes a row's status, not a traceback."""


OUT_OF_BUDGET = "out of budget"
"""How the reason begins where a budget cannot pay for one step: a status of its own."""
