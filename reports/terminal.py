"""A table on a terminal: no line is longer than the screen, its number columns are broken into blocks."""

import itertools
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence

from .tables import Cell, Table

ELSEWHERE = 100
"""Columns where the output is no terminal and COLUMNS is not set."""
GAP = 2
SHORTEST = 8
"""A text column is not cut below this, nor a head broken."""


class Wrapper(textwrap.TextWrapper):
    """Breaks lines after the slashes of a protocol, too."""

    wordsep_simple_re = re.compile(r"(\s+)|(?<=/)")


def width() -> int:
    """Characters per line: COLUMNS if it is set, otherwise the terminal's, otherwise ELSEWHERE."""
    return shutil.get_terminal_size((ELSEWHERE, 24)).columns


def write(table: Table, width: int) -> str:
    """The title, the rows in as many blocks of number columns as the width asks for, and the notes."""
    lines = _cells(table)
    heads = _heads(table, lines)
    lines = [*heads, *lines]
    sizes = [max(columns(line[i]) for line in lines) for i in range(len(table.columns))]
    numbers = sizes[table.left :]
    widest = sorted(numbers)[-2:]
    _shorten(lines, sizes, table.left, width - sum(widest) - GAP * (table.left - 1 + len(widest)))
    room = width - sum(sizes[: table.left]) - GAP * (table.left - 1)
    blocks = [_block(table, lines, len(heads), sizes, chosen) for chosen in _split(sizes, table.left, room)]
    return "\n".join([*_wrapped(table.title, width), "", "\n\n".join(blocks), *_notes(table, width)])


def _heads(table: Table, lines: list[list[str]]) -> list[list[str]]:
    """The head on as many lines as it takes not to widen a column by its second word: `budget` above `(evals)`."""
    parts = []
    for i, name in enumerate(map(printable, table.columns)):
        wider = columns(name) > max((columns(line[i]) for line in lines), default=0)
        parts.append(name.split(" ") if wider and columns(name) > SHORTEST else [name])
    height = max(map(len, parts))
    return [[part[k] if k < len(part) else "" for part in parts] for k in range(height)]


def _cells(table: Table) -> list[list[str]]:
    """The rows as text; spaces take the place of stars, so that digits are below each other."""
    rows = table.rows
    stars = [max((len(row[i].stars) for row in rows), default=0) for i in range(len(table.columns))]

    def text(cell: Cell, most: int) -> str:
        shown = printable(str(cell))
        return shown + " " * (most - len(cell.stars)) if shown else ""

    return [[text(cell, most) for cell, most in zip(row, stars, strict=True)] for row in rows]


def _notes(table: Table, width: int) -> list[str]:
    return [line for note in table.said for line in _wrapped(note, width)]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; where one is wide, of half as many."""
    clean = printable(text)
    fit = width if columns(clean) == len(clean) else width // 2
    return Wrapper(fit, subsequent_indent="  ", break_on_hyphens=False).wrap(clean) or [""]


def _shorten(lines: list[list[str]], sizes: list[int], left: int, room: int) -> None:
    """Cut the text columns to this width together, the widest first."""
    while sum(sizes[:left]) > room and max(sizes[:left]) > SHORTEST:
        sizes[sizes.index(max(sizes[:left]))] -= 1
    for i in range(left):
        for line, text in zip(lines, shortened([line[i] for line in lines], sizes[i]), strict=True):
            line[i] = text


def shortened(texts: Sequence[str], size: int) -> list[str]:
    """The texts in `size` columns, with … in their middles; different ones stay different by a number."""
    found: dict[str, str] = {}
    taken = {text for text in texts if columns(text) <= size}
    for text in dict.fromkeys(texts):
        short, number = (text, 1) if text in taken else (_cut(text, size), 1)
        while text not in taken and short in taken:
            number += 1
            short = _cut(text, size - len(str(number))) + str(number)
        taken.add(short)
        found[text] = short
    return [found[text] for text in texts]


def _cut(text: str, size: int) -> str:
    tail = _first(text[::-1], (size - 1) // 2)[::-1]
    return f"{_first(text, size - 1 - columns(tail))}…{tail}"


def _first(text: str, size: int) -> str:
    """The longest beginning that fits into `size` columns."""
    end = len(text)
    while columns(text[:end]) > size:
        end -= 1
    return text[:end]


def _split(sizes: Sequence[int], left: int, room: int) -> list[list[int]]:
    """The number columns of each block: as many as fit, one at least."""
    blocks: list[list[int]] = [[]]
    for i in range(left, len(sizes)):
        if blocks[-1] and sum(sizes[j] + GAP for j in [*blocks[-1], i]) > room:
            blocks.append([])
        blocks[-1].append(i)
    return blocks


def _block(table: Table, lines: list[list[str]], heads: int, sizes: list[int], numbers: list[int]) -> str:
    """The head and the rows that have anything in these columns, with a rule before each group; a row without any
    number is in the first block.
    """
    shown = [*range(table.left), *numbers]

    def text(line: list[str]) -> str:
        cells = [_padded(line[i], sizes[i] if i < table.left else -sizes[i]) for i in shown]
        return (" " * GAP).join(cells).rstrip()

    whole = sum(sizes[i] + GAP for i in shown) - GAP
    made, rest = [text(line) for line in lines[:heads]], iter(lines[heads:])
    while not made[-1]:
        made.pop()
    for group in table.groups:
        own = list(itertools.islice(rest, len(group.rows)))
        rows = [text(line) for line in own if table.belongs(line, numbers)]
        if rows:
            made += [f"-- {group.title} --".ljust(whole, "-") if group.title else "-" * whole, *rows]
    return "\n".join(made)


def _padded(text: str, size: int) -> str:
    """To the left in `size` columns, to the right if it is negative."""
    space = " " * (abs(size) - columns(text))
    return text + space if size > 0 else space + text


def columns(text: str) -> int:
    """How wide a text is on a terminal: East Asian wide characters take two columns, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def printable(text: str) -> str:
    """Without line breaks and control characters, which would move the cursor or colour the screen."""
    return "".join(character if character.isprintable() else " " for character in text)
