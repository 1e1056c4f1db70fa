"""`fewstep show`: all about one name."""

import json

import click

from .completion import complete_name

KINDS = ("method", "solver", "dataset", "teacher", "metric", "suite", "executor")


@click.command(short_help="Describe what a suite may name.")
@click.argument("name", shell_complete=complete_name)
@click.option("--kind", type=click.Choice(KINDS), help="Only what is of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects for other programs.")
def show(name: str, kind: str | None, as_json: bool) -> None:
    """Say what NAME is: the options, NFEs, cost and papers of a method or solver, the facts of a data set, teacher,
    metric, suite or executor. A file of a suite may be named too.
    """
    from .catalogue import find
    from .pages import page

    pages = [page(entry) for entry in find(name, kind)]
    if as_json:
        return click.echo(json.dumps([page.json() for page in pages], indent=2, ensure_ascii=False))
    click.echo("\n\n".join("\n".join(page.lines()) for page in pages))
