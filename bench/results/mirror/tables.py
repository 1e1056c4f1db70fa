"""What the suite's W&B run shows: the CSVs as tables, samples beside each entry, figures, and the files to keep."""

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....reports import drawing, figures, leaderboard, run_folder
from ...training.tracking import side_by_side

SHOWN = 8
"""Samples in a thumbnail."""
ARTIFACT = tuple(name for name in run_folder.FILES if name not in (run_folder.FIGURES, run_folder.PICTURES))
COMPARED = (run_folder.RESULTS, run_folder.LEADERBOARD, run_folder.REPORT, run_folder.SUITE, run_folder.COSTS)


def artifact_files(folder: Path) -> list[Path]:
    drawn = sorted((folder / run_folder.FIGURES).glob("*.svg"))
    return [folder / name for name in ARTIFACT if (folder / name).is_file()] + drawn


def fingerprint(folder: Path) -> list[str]:
    """Hashes of the files that the suite's run shows."""
    paths = [folder / name for name in COMPARED if (folder / name).is_file()]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def log_results(run: Any, folder: Path) -> None:
    """Log results.csv and leaderboard.csv as tables, and the figures as images."""
    import wandb

    header, rows = _read(folder / run_folder.RESULTS)
    thumbnails = _thumbnails(folder, header, rows)
    results = wandb.Table(columns=header, data=_typed(rows), allow_mixed_types=True)
    header, rows = _read(folder / run_folder.LEADERBOARD)
    pictures = [thumbnails.get(_entry(header, row)) for row in rows]
    shown: list[Any] = [
        [*row, None if picture is None else wandb.Image(picture)]
        for row, picture in zip(_typed(rows), pictures, strict=True)
    ]
    board = wandb.Table(columns=[*header, "samples"], data=shown, allow_mixed_types=True)
    run.log({"results": results, "leaderboard": board, **_figures(folder)})


def _figures(folder: Path) -> dict[str, Any]:
    """The report's figures as images."""
    import wandb
    from PIL import Image

    board = leaderboard.read(folder)
    return {
        f"figures/{name}": wandb.Image(Image.open(io.BytesIO(drawing.rendered(figure, "png"))))
        for name, figure in figures.shown(board, {board.labels[0]: folder})
    }


def _read(path: Path) -> tuple[list[Any], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def _typed(rows: Sequence[Sequence[str]]) -> list[Any]:
    """Columns in which every cell that is not empty is a number, as numbers."""
    columns = [_numbers(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _numbers(column: Sequence[str]) -> list[Any]:
    try:
        return [None if value == "" else float(value) if not value.isdigit() else int(value) for value in column]
    except ValueError:
        return list(column)


def _entry(header: Sequence[str], row: Sequence[str]) -> tuple[str, ...]:
    """What names an entry of the leaderboard in a row of either file."""
    found = dict(zip(header, row, strict=True))
    return tuple(found[name] for name in ("dataset", "teacher", "method", "variant", "budget", "nfe"))


def _thumbnails(folder: Path, header: list[str], rows: list[list[str]]) -> dict[tuple[str, ...], np.ndarray]:
    """Entry -> its first samples side by side."""
    pictures, cell = run_folder.pictures(folder), header.index("cell")
    return {_entry(header, row): side_by_side(pictures[row[cell]][:SHOWN]) for row in rows if row[cell] in pictures}
