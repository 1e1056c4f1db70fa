"""`fewstep list`: what a suite may name."""

import click


@click.command("list")
@click.argument("kind", type=click.Choice(["methods", "solvers", "datasets", "teachers", "metrics", "suites"]))
def list_names(kind: str) -> None:
    """List what a suite may name."""
    print_names(kind)


def print_names(kind: str) -> None:
    from .catalogue import catalogue

    entries = catalogue(kind)
    width = max(len(name) for name, _ in entries)
    for name, summary in entries:
        click.echo(f"{name:<{width}}  {summary}".rstrip())
