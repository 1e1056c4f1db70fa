"""What a picture costs where samples are latents: sampling beside decoding, which is in no budget and no NFE."""

import pandas as pd

from .entries import Board
from .lines import Line, fill
from .merge import Merged
from .naming import named
from .run_folder import CELL_KEY
from .tables import Cell, Table

SHOWN = {
    "flops_per_image": ("sampling (GFLOP)", 1e-9),
    "decode_flops_per_image": ("decoding (GFLOP)", 1e-9),
    "seconds_per_image": ("sampling (ms)", 1e3),
    "decode_seconds_per_image": ("decoding (ms)", 1e3),
}
"""Columns of results.csv, with their titles and what values are multiplied by."""
ONCE = {
    "conditioning_flops": "encoding the prompts took {:.3g} TFLOP, once for all rows of a pipeline, and is not charged",
    "latent_flops": "encoding the images that methods train on took {:.3g} TFLOP, once, and is not charged",
}


def table(board: Board, merged: Merged) -> Table | None:
    """Per picture, a line per method, options, budget and NFE; means over the seeds. None where nothing is decoded."""
    cells = merged.results.drop_duplicates([*CELL_KEY, "run"])
    cells = cells[cells["decode_flops_per_image"].notna()]
    if cells.empty:
        return None
    places, rows = named(cells)
    lines = []
    for key, own in cells.groupby([*places, *rows, "nfe"], sort=False):
        *names, nfe = key
        text = tuple(map(str, names))
        means = [Cell(_short(own[name].mean() * factor)) for name, (_, factor) in SHOWN.items()]
        lines.append(Line(text[len(places) :], [Cell(str(nfe)), *means], text[: len(places)]))
    suite = " + ".join(dict.fromkeys(cells["suite"]))
    titles = [title for title, _ in SHOWN.values()]
    notes = [text.format(largest * 1e-12) for name, text in ONCE.items() if (largest := cells[name].max()) > 0]
    empty = Table(f"{suite}: what a picture costs", ["NFE", *titles], [], notes, left=0, key=(suite, "decoding"))
    return fill(board, empty, lines, list(places.values()))


def _short(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
