"""The report of one run: leaderboard.csv, figures, and one HTML file that opens from disk without a network."""

from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from . import figures, leaderboard, learned, run_folder
from .formats import to_html
from .options import quality_against_options
from .run_folder import EntryKey
from .samples import samples_side_by_side
from .writing import file_name, write_atomic


def write_leaderboard(folder: Path) -> None:
    """leaderboard.csv beside results.csv."""
    board = leaderboard.read(folder)
    write_atomic(folder / run_folder.LEADERBOARD, leaderboard.render(board, "csv") + "\n")


def write_html(folder: Path, target: Path) -> None:
    """The report of `folder` as `target`. If that is in `folder`, its figures are files too, under `folder`/figures."""
    board = leaderboard.read(folder)
    drawn = _figures(folder, board)
    if target.parent == folder:
        for name, svg in drawn.items():
            write_atomic(folder / run_folder.FIGURES / f"{file_name(name)}.svg", svg)
    environment = Environment(loader=PackageLoader(__package__), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("report.html").render(
        board=board,
        facts=run_folder.facts(folder),
        tables=[Markup(to_html(table)) for table in leaderboard.tables(board, board.metrics)],
        costs=Markup(to_html(board.costs)) if board.costs is not None else None,
        trials=Markup(to_html(board.trials)) if board.trials is not None else None,
        figures={name: Markup(svg) for name, svg in drawn.items()},
        unfinished=_unfinished(board),
    )
    write_atomic(target, page)


def _unfinished(board: leaderboard.Board) -> list[tuple[str, int, str]]:
    """(method, NFE, reason) of every entry without all its values, each reason once."""
    found = ((e.method, e.nfe, str(status)) for e in board.entries for status in e.statuses.values() if not status.done)
    return list(dict.fromkeys(found))


def _figures(folder: Path, board: leaderboard.Board) -> dict[str, str]:
    drawn = {}
    for dataset, teacher in board.problems:
        for metric in board.metrics:
            name = f"{metric}_{dataset}_{teacher}"
            drawn[name] = figures.quality_against_nfe(board, metric, dataset, teacher)
            by_budget = figures.quality_against_budget(board, metric, dataset, teacher)
            if by_budget is not None:
                drawn[f"budget_{name}"] = by_budget
            for option, svg in quality_against_options(board, metric, dataset, teacher).items():
                drawn[f"{option}_{name}"] = svg
    curves = learned.curves(run_folder.learned(folder))
    if curves is not None:
        drawn["learned"] = curves
    pictures = run_folder.pictures(folder)
    samples = samples_side_by_side(board, pictures, _cells(folder, set(pictures))) if pictures else None
    if samples is not None:
        drawn["samples"] = samples
    return drawn


def _cells(folder: Path, names: set[str]) -> dict[EntryKey, str]:
    """Entry -> the cell whose pictures were kept."""
    rows = run_folder.results(folder)
    rows = rows[rows["cell"].isin(names)]
    keys = (EntryKey(*key) for key in rows[run_folder.ENTRY_KEY].itertuples(index=False))
    return dict(zip(keys, rows["cell"], strict=True))
