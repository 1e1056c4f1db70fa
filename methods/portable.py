"""Files and their names as Linux, macOS and Windows all take them. No torch."""

import os
import sys
import time
from pathlib import Path

PART_OF_RESULTS = False

AGAIN = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between the attempts."""
LONGEST = 100
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789")}
"""What Windows takes for devices, in any case and with any suffix."""


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name, in place of a file that has it.

    Windows refuses while another program, such as a virus scanner, has one of the files open: that passes.
    """
    for seconds in AGAIN if sys.platform == "win32" else ():
        try:
            return os.replace(source, target)
        except PermissionError:
            time.sleep(seconds)
    os.replace(source, target)


def name_refusal(name: str) -> str | None:
    """Why a file or folder cannot have this name on every system; None if it can."""
    if not 0 < len(name) <= LONGEST:
        return f"must be a name of 1 to {LONGEST} characters"
    if not name.isprintable() or set(name) & set('/\\:*?"<>|'):
        return 'must be a name without / \\ : * ? " < > |, not a path'
    if name[-1] in ". ":
        return "must not end with a dot or a space, which Windows drops"
    if name.partition(".")[0].rstrip().lower() in DEVICES:
        return "must be another name: Windows takes this one for a device"
    return None
