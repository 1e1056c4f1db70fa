"""The report of one run: leaderboard.csv, figures, and one HTML file that opens from disk without a network."""

from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from . import figures, leaderboard, run_folder
from .tables import to_html


def write_leaderboard(folder: Path) -> None:
    """leaderboard.csv beside results.csv."""
    board = leaderboard.read(folder)
    (folder / run_folder.LEADERBOARD).write_text(leaderboard.render(board, "csv") + "\n", encoding="utf-8")


def write_html(folder: Path, target: Path) -> None:
    """The report of `folder` as `target`; its figures as SVG files under `folder`/figures."""
    board = leaderboard.read(folder)
    drawn = figures.for_report(board, folder)
    (folder / run_folder.FIGURES).mkdir(exist_ok=True)
    for name, svg in drawn.items():
        (folder / run_folder.FIGURES / f"{name}.svg").write_text(svg, encoding="utf-8")
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
    target.write_text(page, encoding="utf-8")


def _unfinished(board: leaderboard.Board) -> list[tuple[str, int, str]]:
    """(method, NFE, reason) of every entry without all its values, each reason once."""
    found = ((e.method, e.nfe, str(status)) for e in board.entries for status in e.statuses.values() if not status.done)
    return list(dict.fromkeys(found))
