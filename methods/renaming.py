"""Renaming files and folders where another program may have them open. No torch."""

import os
import time
from pathlib import Path

PART_OF_RESULTS = False

AGAIN = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between the attempts."""


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name, in place of a file that has it.

    Windows refuses while another program, such as a virus scanner, has one of the files open: that passes.
    """
    for seconds in AGAIN if os.name == "nt" else ():
        try:
            return os.replace(source, target)
        except PermissionError:
            time.sleep(seconds)
    os.replace(source, target)
