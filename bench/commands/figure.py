"""`fewstep figure`: one figure of one run or several, as a paper needs it."""

from pathlib import Path

import click

from ...reports.figures import KINDS
from ..errors import InputError
from .places import require_writable_file, results_folder
from .rows import require_labels, rows_options

FORMATS = ("pdf", "svg", "png")


@click.command(short_help="Draw a figure for a paper.")
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option("--kind", required=True, help=f"What to draw: {', '.join(KINDS)}.")
@click.option("--metric", metavar="NAME", help="Of which metric [default: the suite's first].")
@rows_options
@click.option("--dataset", metavar="NAME", help="On which data set, where the runs have several.")
@click.option("--teacher", metavar="LABEL", help="With which teacher, where the runs have several.")
@click.option("--width", type=float, default=5.5, show_default=True, metavar="INCHES", help="As it is printed.")
@click.option("--format", "form", metavar="|".join(FORMATS), help="[default: as the name of the file says]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def figure(
    places: tuple[str, ...],
    kind: str,
    metric: str | None,
    nfes: list[int],
    methods: list[str],
    labels: tuple[str, ...],
    by_run: bool,
    dataset: str | None,
    teacher: str | None,
    width: float,
    form: str | None,
    out: Path,
) -> None:
    """Draw a figure of a run, or of several together.

    Type is 6 to 7 points at the printed width: 5.5 inches for a page, 3.25 for a column. Fonts are embedded, and the
    same runs give the same bytes. The same in Python: fewstep.reports.figures.figure.
    """
    found = _format(form, out)
    require_labels(labels, places)
    folders = [results_folder(place) for place in places]
    require_writable_file(out)
    from ...reports import drawing, figures
    from ...reports.writing import write_atomic

    try:
        drawn = figures.figure(
            folders, kind, metric=metric, methods=methods, nfes=nfes, width=width, dataset=dataset, teacher=teacher,
            labels=labels, by_run=by_run,
        )  # fmt: skip
        content = drawing.rendered(drawn, found)
    except ValueError as error:
        raise InputError(str(error)) from None
    write_atomic(out, content)
    click.echo(out)


def _format(form: str | None, out: Path) -> str:
    """InputError for a format that there is not, or that the name of the file contradicts."""
    suffix = out.suffix[1:].lower()
    if form is not None and form not in FORMATS:
        raise InputError(f"--format: no format {form!r}; there are {', '.join(FORMATS)}")
    if suffix not in FORMATS:
        raise InputError(f"--out {out}: expected a name that ends in .{', .'.join(FORMATS)}")
    if form not in (None, suffix):
        raise InputError(f"--format {form} for {out}: its name says {suffix}")
    return suffix
