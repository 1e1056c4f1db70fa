"""`fewstep list`: what a suite may name."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import click

from ..errors import InputError

if TYPE_CHECKING:
    from .catalogue import Entry

KINDS = ("methods", "solvers", "datasets", "teachers", "metrics", "suites", "executors")


@click.command("list", short_help="List what a suite may name.")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--ready", is_flag=True, help="Only the metrics that can be measured on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects for other programs.")
def list_names(kind: str, ready: bool, as_json: bool) -> None:
    """List what a suite may name; `fewstep show NAME` says more of each."""
    if ready and kind != "metrics":
        raise InputError("--ready is for metrics: `fewstep list metrics --ready`")
    print_names(kind, ready, as_json)


def print_names(kind: str, ready: bool = False, as_json: bool = False) -> None:
    import json

    from .catalogue import catalogue

    entries = [entry for entry in catalogue(kind) if entry.facts.get("ready", True) or not ready]
    if as_json:
        return click.echo(json.dumps([entry.json() for entry in entries], indent=2, ensure_ascii=False))
    for line in _lines(entries):
        click.echo(line)


def _lines(entries: "list[Entry]") -> Iterator[str]:
    """The entries under the headings of their groups, one blank line between groups."""
    from .layout import heading, table, wrapped

    column = 4 + max((len(entry.name) for entry in entries), default=0)
    for i, (group, members) in enumerate(groupby(entries, key=lambda entry: entry.group)):
        if i:
            yield ""
        if group:
            yield heading(group)
        yield from table(_rows(members), column=column)
    if any("not ready" in entry.notes for entry in entries):
        yield ""
        yield from wrapped("Not ready: `fewstep show NAME` says what is missing, `fewstep doctor` how to get it.")


def _rows(entries: "Iterable[Entry]") -> Iterator[tuple[str, list[str]]]:
    for entry in entries:
        yield entry.name, [entry.summary, *([", ".join(entry.notes)] if entry.notes else [])]
