"""Which trials the tuned rows chose, and by what."""

import pandas as pd

from .entries import Board
from .lines import Line, fill
from .naming import named, number
from .tables import Cell, Table


def table(board: Board, frame: pd.DataFrame) -> Table | None:
    """A line per trial of trials.csv, the seeds together; None where nothing was tuned."""
    if frame.empty:
        return None
    places, rows = named(frame)
    lines = []
    for key, seeds in frame.groupby([*places, *rows, "nfe", "trial", "options"], sort=False):
        *names, nfe, _, options = map(str, key)
        distances = seeds["distance"].astype(float)
        finite = distances[distances < float("inf")]
        looked = number(finite.mean()) if len(finite) else "–"
        cells = [nfe, options, looked, f"{seeds['chosen'].sum()} of {len(seeds)}"]
        lines.append(Line(tuple(names[len(places) :]), list(map(Cell, cells)), tuple(names[: len(places)])))
    note = (
        "chosen: by how many seeds; distance: the mean over the seeds of the Fréchet distance on the selection's own "
        "noises"
    )
    suite = " + ".join(dict.fromkeys(frame["suite"]))
    columns = ["NFE", "trial", "distance", "chosen"]
    empty = Table(f"{suite}: what was tuned", columns, [], [note], left=2, key=(suite, "trials"))
    return fill(board, empty, lines, list(places.values()))
