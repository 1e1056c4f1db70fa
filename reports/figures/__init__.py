"""Figures of run folders."""

from pathlib import Path

from .. import run_folder
from ..entries import Board
from ..run_folder import EntryKey


def for_report(board: Board, folder: Path) -> dict[str, str]:
    """The figures that the report of one run shows, as SVG text by name."""
    from . import ablation, learned, nfe, samples

    drawn = {}
    for dataset, teacher in board.problems:
        for metric in board.metrics:
            name = f"{metric}_{dataset}_{teacher}"
            drawn[name] = nfe.quality_against_nfe(board, metric, dataset, teacher)
            by_budget = nfe.quality_against_budget(board, metric, dataset, teacher)
            if by_budget is not None:
                drawn[f"budget_{name}"] = by_budget
            for option, svg in ablation.quality_against_options(board, metric, dataset, teacher).items():
                drawn[f"{option}_{name}"] = svg
    curves = learned.curves(run_folder.learned(folder))
    if curves is not None:
        drawn["learned"] = curves
    pictures = run_folder.pictures(folder)
    found = samples.samples_side_by_side(board, pictures, _cells(folder, set(pictures))) if pictures else None
    if found is not None:
        drawn["samples"] = found
    return drawn


def _cells(folder: Path, names: set[str]) -> dict[EntryKey, str]:
    """Entry -> the cell whose pictures were kept."""
    rows = run_folder.results(folder)
    rows = rows[rows["cell"].isin(names)]
    keys = (EntryKey(*key) for key in rows[run_folder.ENTRY_KEY].itertuples(index=False))
    return dict(zip(keys, rows["cell"], strict=True))
