"""A table in Markdown, in which no label is more than text."""

import re

from .tables import Cell, Table

SPECIAL = re.compile(r"([\\`*_~\[\]|#])")
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def write(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    width = len(table.columns)
    rule = "|" + "|".join("---" if i < table.left else "--:" for i in range(width)) + "|"
    body = [line([*map(escape, table.columns)]), rule]
    for group in table.groups:
        if group.title:
            body.append(f"| *{escape(group.title)}* |" + "  |" * (width - 1))
        body += [line([*map(_cell, row)]) for row in group.rows]
    return "\n".join([f"**{escape(table.title)}**", "", *body, "", "<br>".join(map(escape, table.said))])


def _cell(cell: Cell) -> str:
    text = escape(str(cell))
    return f"*{text}*" if cell.muted and text else text


def escape(text: str) -> str:
    """The text as Markdown that is shown as it is, on one line, in a table's cell too."""
    text = SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return "".join(HTML.get(character, character) for character in text)
