"""Which trials the tuned rows chose, and by what."""

from pathlib import Path

import pandas as pd

from .tables import Table

KEY = ["method", "variant", "budget", "nfe", "trial", "options"]


def table(folder: Path) -> Table | None:
    """A line per trial of a folder's trials.csv, the seeds together; None where nothing was tuned."""
    file = folder / "trials.csv"
    if not file.is_file():
        return None
    frame = pd.read_csv(file, dtype=dict.fromkeys(("variant", "budget", "options"), "string"), keep_default_na=False)
    if frame.empty:
        return None
    frame["distance"] = frame["distance"].astype(float)
    rows = []
    for key, seeds in frame.groupby(KEY, sort=False):
        method, variant, budget, nfe, _, options = map(str, key)
        finite = seeds.loc[seeds["distance"] < float("inf"), "distance"]
        looked = f"{finite.mean():.2f}" if len(finite) else "–"
        rows.append([method, variant, budget, nfe, options, looked, f"{seeds['chosen'].sum()} of {len(seeds)}"])
    note = "distance: the mean over the seeds of the Fréchet distance on the selection's own noises"
    suite = str(frame["suite"].iloc[0])
    columns = ["method", "options", "budget", "NFE", "trial", "distance", "chosen by seeds"]
    return Table(f"{suite}: what was tuned", columns, rows, [note])
