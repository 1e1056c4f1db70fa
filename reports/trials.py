"""Which trials the tuned rows chose, and by what."""

import pandas as pd

from .naming import naming
from .tables import Table


def table(frame: pd.DataFrame) -> Table | None:
    """A line per trial of trials.csv, the seeds together; None where nothing was tuned."""
    if frame.empty:
        return None
    named = naming(frame)
    rows = []
    for key, seeds in frame.groupby([*named, "nfe", "trial", "options"], sort=False):
        *names, nfe, _, options = map(str, key)
        distances = seeds["distance"].astype(float)
        finite = distances[distances < float("inf")]
        looked = f"{finite.mean():.2f}" if len(finite) else "–"
        rows.append([*names, nfe, options, looked, f"{seeds['chosen'].sum()} of {len(seeds)}"])
    note = "distance: the mean over the seeds of the Fréchet distance on the selection's own noises"
    suite = " + ".join(dict.fromkeys(frame["suite"]))
    columns = [*named.values(), "NFE", "trial", "distance", "chosen by seeds"]
    return Table(f"{suite}: what was tuned", columns, rows, [note], left=len(named))
