"""`fewstep claims`: what of the papers' sentences holds in the results of runs."""

from pathlib import Path

import click

from ..errors import InputError
from .places import results_folder


@click.command(short_help="Judge the claims of papers by the results of runs.")
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option("--claim", "only", metavar="ID", help="One claim: its sentence, its tests and all numbers.")
@click.option("--format", "style", type=click.Choice(["table", "markdown", "latex", "html"]), default="table")
def claims(places: tuple[str, ...], only: str | None, style: str) -> None:
    """Say of each claim of a suite whether it holds: a sentence of a paper, and the paired test that stands for it.

    A verdict is for one data set, teacher, budget and rule set, and for this scale alone.

    \b
    fewstep claims leaderboards/claims
    fewstep claims leaderboards/claims --claim cd-pd
    """
    from ...reports import formats, leaderboard
    from ...reports.claims import board as tables
    from ...reports.claims import reading
    from ...reports.claims.judge import ClaimError, judge

    folders = [Path(results_folder(place)) for place in places]
    try:
        stated = reading.read(folders)
        board = leaderboard.read(*folders)
        if not stated:
            raise InputError(f"{', '.join(places)}: the suite states no claims; see `claims:` in docs/suites.md")
        chosen = [claim for claim in stated if only in (None, claim.id)]
        if not chosen:
            raise InputError(f"no claim {only!r}; there are {', '.join(claim.id for claim in stated)}")
        judged = judge(board, chosen)
    except (ClaimError, ValueError) as error:
        raise InputError(str(error)) from None
    made = [tables.details(board, judged)] if only else [tables.overview(board, judged)]
    click.echo("\n\n".join(formats.write(table, style) for table in made))
    for line in reading.changed(folders):
        click.echo(f"fewstep: {line}", err=True)
