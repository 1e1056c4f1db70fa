"""How long sampling took."""

from pathlib import Path

import pandas as pd

from . import run_folder
from .run_folder import ENTRY_KEY, EntryKey, groups


def seconds_per_image(folder: Path) -> dict[EntryKey, float]:
    """The median over the seeds; entries that were not timed are left out."""
    rows = run_folder.results(folder).drop_duplicates(run_folder.CELL_KEY)
    rows = rows.assign(seconds_per_image=pd.to_numeric(rows["seconds_per_image"], errors="coerce"))
    found = {EntryKey(*key): float(part["seconds_per_image"].median()) for key, part in groups(rows, ENTRY_KEY)}
    return {key: seconds for key, seconds in found.items() if seconds == seconds}
