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

    A verdict is for one data set, teacher, budget and rule set, and for this scale alone. Several folders make one
    board, on which a claim says where it holds: each suite's claims are judged by its own rows.

    \b
    fewstep claims leaderboards/claims
    fewstep claims leaderboards/claims --claim cd-pd
    fewstep claims leaderboards/claims leaderboards/claims-mixture leaderboards/cifar10-cpu
    """
    from ...reports import formats
    from ...reports.claims import board as tables
    from ...reports.claims import reading
    from ...reports.claims.judge import ClaimError, over

    folders = [Path(results_folder(place)) for place in places]
    try:
        board, judged = over(reading.boards(folders))
    except (ClaimError, ValueError) as error:
        raise InputError(str(error)) from None
    if not judged:
        raise InputError(f"{', '.join(places)}: the suite states no claims; see `claims:` in docs/suites.md")
    chosen = [one for one in judged if only in (None, one.claim.id)]
    if not chosen:
        known = dict.fromkeys(one.claim.id for one in judged)
        raise InputError(f"no claim {only!r}; there are {', '.join(known)}")
    click.echo(formats.write((tables.details if only else tables.overview)(board, chosen), style))
    for line in reading.changed(folders):
        click.echo(f"fewstep: {line}", err=True)
