"""Text for a terminal: names in a column, what they are beside it, wrapped to the width."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator

import click

WIDEST, NARROWEST = 120, 40
"""Columns: longer lines are hard to read, in fewer nothing stands beside a name."""


def width() -> int:
    """Columns of the terminal, or of the environment variable COLUMNS."""
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def heading(text: str) -> str:
    return click.style(text[:1].upper() + text[1:], bold=True)


def wrapped(text: str, indent: int = 0) -> list[str]:
    """The lines of a text; words such as addresses are never broken."""
    blank = " " * indent
    return textwrap.wrap(
        text,
        width(),
        initial_indent=blank,
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(rows: Iterable[tuple[str, list[str]]], indent: int = 2, column: int = 0) -> Iterator[str]:
    """The lines of (name, paragraphs): names indented, paragraphs in a column of their own.

    column: where that begins; by default two columns past the longest name.
    A name that is longer has a line for itself.
    """
    rows = list(rows)
    column = column or indent + max((len(name) for name, _ in rows), default=0) + 2
    for name, paragraphs in rows:
        lines = [line for text in paragraphs for line in wrapped(text, column)]
        label = " " * indent + name
        if not lines or len(label) + 2 > column:
            yield label
        else:
            lines[0] = label + lines[0][len(label) :]
        yield from lines
