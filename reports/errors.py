"""What is wrong with a file that is read."""


class DamagedError(ValueError):
    """A file of a run folder is not as fewstep writes it: the message names the file, the line, and what is wrong."""
