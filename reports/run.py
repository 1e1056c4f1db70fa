"""What a report of run folders writes: leaderboard.csv, figures, and one HTML file that opens without a network."""

from collections.abc import Sequence
from pathlib import Path

from . import figures, leaderboard, run_folder
from .claims import board as claims
from .claims import judge, reading
from .entries import Board
from .merge import merge, named_folders
from .published import against
from .tables import Table
from .writing import file_name, write_atomic


def write_leaderboard(folder: Path) -> None:
    """leaderboard.csv beside results.csv."""
    board = leaderboard.read(folder)
    write_atomic(folder / run_folder.LEADERBOARD, leaderboard.render(board, "csv") + "\n")


def write_html(folders: Sequence[Path], target: Path, labels: Sequence[str] = (), by_run: bool = False) -> None:
    """The report of run folders, read as `leaderboard.read` says, as `target`; in a run's own folder with its figures
    as SVG files beside it.
    """
    from .page import render, sources

    board, merged = leaderboard.read(*folders, labels=labels, by_run=by_run), merge(folders, labels, by_run)
    named = named_folders(folders, labels)
    drawn = figures.for_report(board, named)
    text = render.html(
        board, merged, drawn, sources.sources(named, target), _published(folders, board), _claims(folders, board)
    )
    if target.parent == folders[0]:
        for name, svg in drawn.items():
            write_atomic(folders[0] / run_folder.FIGURES / f"{file_name(name)}.svg", svg)
    write_atomic(target, text)


def _published(folders: Sequence[Path], board: Board) -> list[Table]:
    """The paper's tables beside ours, of a single run."""
    beside = against.read(folders[0]) if len(folders) == 1 else None
    return [] if beside is None else against.tables(beside, board)


def _claims(folders: Sequence[Path], board: Board) -> list[Table]:
    """The board of claims and each of them, of a single run."""
    stated = reading.read(folders) if len(folders) == 1 else []
    judged = judge.judge(board, stated) if stated else []
    own = {claim.id: [one for one in judged if one.claim.id == claim.id] for claim in stated}
    if not judged:
        return []
    return [claims.overview(board, judged), *(claims.details(board, found) for found in own.values() if found)]
