"""`fewstep claims`: what of the papers' sentences holds in the results of runs."""

from pathlib import Path

import click

from ..errors import InputError
from .places import results_folder


@click.command(short_help="Judge the claims of papers by the results of runs.")
@click.argument("places", metavar="[DIR|SUITE...]", nargs=-1)
@click.option("--claim", "only", metavar="ID", help="One claim: its sentence, its tests and all numbers.")
@click.option("--format", "style", type=click.Choice(["table", "markdown", "latex", "html"]), default="table")
def claims(places: tuple[str, ...], only: str | None, style: str) -> None:
    """Say of each claim of a suite whether it holds: a sentence of a paper, and the paired test that stands for it.

    A verdict is for one data set, teacher, budget and rule set, and for this scale alone. Several DIRs make one board,
    on which a claim says where it holds: each suite's claims are judged by its own rows. Without DIR, every board that
    comes with fewstep and states claims is judged, each by itself.

    \b
    fewstep claims leaderboards/claims
    fewstep claims leaderboards/claims --claim cd-pd
    fewstep claims runs/claims runs/claims-mixture runs/cifar10-cpu
    """
    if places:
        click.echo(_judged([Path(results_folder(place)) for place in places], only, style))
        return
    stated = _shipped()
    if not stated:
        raise InputError("no board that comes with fewstep states claims; name a run of yours: fewstep claims DIR")
    chosen = [folder for folder, names in stated.items() if only is None or only in names]
    if not chosen:
        raise InputError(
            f"no claim {only!r}; there are {', '.join(name for names in stated.values() for name in names)}"
        )
    click.echo("\n\n".join(_judged([folder], only, style) for folder in chosen))


BOARDS = Path(__file__).parents[2] / "leaderboards"


def _shipped() -> dict[Path, list[str]]:
    """The committed boards whose suites state claims, and the names of these."""
    from ...reports.claims import reading

    folders = [file.parent for file in sorted(BOARDS.glob("*/results.csv"))]
    found = {folder: [claim.id for claim in reading.read([folder])] for folder in folders}
    return {folder: names for folder, names in found.items() if names}


def _judged(folders: list[Path], only: str | None, style: str) -> str:
    from ...reports import formats
    from ...reports.claims import board as tables
    from ...reports.claims import reading
    from ...reports.claims.judge import ClaimError, over

    try:
        board, judged = over(reading.boards(folders))
    except (ClaimError, ValueError) as error:
        raise InputError(str(error)) from None
    if not judged:
        places = ", ".join(map(str, folders))
        raise InputError(f"{places}: the suite states no claims; see `claims:` in docs/suites.md")
    chosen = [one for one in judged if only in (None, one.claim.id)]
    if not chosen:
        known = dict.fromkeys(one.claim.id for one in judged)
        raise InputError(f"no claim {only!r}; there are {', '.join(known)}")
    for line in reading.changed(folders):
        click.echo(f"fewstep: {line}", err=True)
    return formats.write((tables.details if only else tables.overview)(board, chosen), style)
