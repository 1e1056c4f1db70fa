r"""A table as a booktabs float that compiles as it is, in a text width of 5.5 inches.

Number columns are broken into blocks where they are too wide, and blocks into floats where they are too high. The best
value of a column is bold, the second underlined. Packages: booktabs; siunitx where numbers are aligned by it. Numbers
from memory are set by \recalled and marks of what was not read in its paper by \secondary, which a paper may redefine.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .tables import Cell, Table

WIDTH = 5.5 * 72.27
"""Points."""
GAP = 6.0
"""Points between two columns."""
NAME = 150.0
"""Points of a text column at most, in which longer ones are broken."""
HEIGHT = 52
"""Lines of a float."""

HEAD = r"""\begin{table}[tbp]
\centering
\setlength{\belowcaptionskip}{4pt}
\caption{%s}
\label{%s}
\footnotesize
\setlength{\tabcolsep}{%gpt}"""
NOTES = r"""
\par\smallskip
\begin{minipage}{\linewidth}
\scriptsize\raggedright
%s
\end{minipage}"""


@dataclass(frozen=True)
class Numbers:
    """How a column of numbers is set: its specification, from its cells, a cell of it, and its head."""

    column: Callable[[Sequence[Cell]], str]
    cell: Callable[[Cell], str]
    head: Callable[[str], str]
    setup: str = ""


def write(table: Table) -> str:
    """One float, or several of which the last has the notes."""
    return _write(table, Numbers(lambda cells: "r", _cell, escape))


def write_siunitx(table: Table) -> str:
    """The same, with numbers aligned at their points and errors in S columns of the package siunitx, version 3."""
    return _write(table, Numbers(_s_column, _s_cell, lambda name: f"{{{escape(name)}}}", SIUNITX))


SIUNITX = "\n" + r"\sisetup{separate-uncertainty, table-align-uncertainty, detect-weight, mode=text}"
MACROS = {
    r"\recalled{": r"\providecommand{\recalled}[1]{\textit{#1}}",
    r"\secondary{}": r"\providecommand{\secondary}{$^\dagger$}",
}
"""Those of our own that a float defines where it uses them, unless the paper does."""
NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?")


def _s_column(cells: Sequence[Cell]) -> str:
    """Such as S[table-format=3.2(2)]: the digits that the widest number and error take."""
    found = [match for cell in cells if (match := NUMBER.fullmatch(cell.text))]
    sign = "-" * any(match[1] for match in found)
    whole = max((len(match[2]) for match in found), default=1)
    decimals = max((len(match[3] or "") for match in found), default=0)
    digits = max((len(_uncertainty(cell)) for cell in cells if _aligned(cell)), default=0)
    return f"S[table-format={sign}{whole}.{decimals}{f'({digits})' * bool(digits)}]"


def _aligned(cell: Cell) -> bool:
    return bool(NUMBER.fullmatch(cell.text)) and (not cell.error or bool(NUMBER.fullmatch(cell.error)))


def _uncertainty(cell: Cell) -> str:
    """The error in units of the last digit: `12` of 2.41 ± 0.12."""
    return cell.error.replace(".", "").lstrip("0") or "0" * bool(cell.error)


def _s_cell(cell: Cell) -> str:
    """What siunitx does not read as a number, or cannot underline, is set in braces."""
    if not _aligned(cell) or cell.second or cell.muted:
        return f"{{{_cell(cell)}}}" if str(cell) else ""
    error = f"({_uncertainty(cell)})" if cell.error else ""
    return r"\bfseries " * cell.best + cell.text + error + r"{\rlap{$^\dagger$}}" * cell.unbeaten


def _write(table: Table, numbers: Numbers) -> str:
    text = [max(_points(row[i]) for row in [_heads(table), *table.rows]) for i in range(len(table.columns))]
    left = list(range(table.left))
    room = WIDTH - sum(min(text[i], NAME) + GAP for i in left)
    tabulars = []
    for chosen in _split(text, table.left, room):
        shown = [*left, *chosen]
        tabulars += [_tabular(table, shown, text, lines, numbers) for lines in _lines(table, shown, numbers)]
    floats = _packed(tabulars)
    label = "tab:" + re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(table.key or (table.title,)))
    parts = []
    for number, bodies in enumerate(floats, 1):
        more = "" if number == 1 else " (continued)"
        head = HEAD % (escape(table.title) + more, label + f"-{number}" * (number > 1), GAP / 2) + numbers.setup
        body = "\n\\par\\medskip\n".join(bodies) + (_notes(table) if number == len(floats) else "")
        defined = [definition for macro, definition in MACROS.items() if macro in body]
        parts.append("\n".join([head, *defined, body, r"\end{table}"]))
    return "\n\n".join(parts)


def _heads(table: Table) -> list[Cell]:
    return [Cell(column) for column in table.columns]


def _split(text: Sequence[float], first: int, room: float) -> list[list[int]]:
    """The number columns of each block: as many as fit, one at least."""
    blocks: list[list[int]] = [[]]
    for i in range(first, len(text)):
        if blocks[-1] and sum(text[j] + GAP for j in blocks[-1]) + text[i] > room:
            blocks.append([])
        blocks[-1].append(i)
    return blocks


def _lines(table: Table, chosen: Sequence[int], style: Numbers) -> list[list[str]]:
    """The lines of the rows that have anything in these columns, for as many tabulars as their height asks for."""
    found: list[list[str]] = [[]]
    for group in table.groups:
        rows = [row for row in group.rows if table.belongs(row, chosen)]
        title = [rf"\multicolumn{{{len(chosen)}}}{{@{{}}l}}{{\emph{{{escape(group.title)}}}}} \\"] * bool(group.title)
        begun = False
        for row in rows:
            if len(found[-1]) >= HEIGHT:
                found.append([])
            if not begun or not found[-1]:
                found[-1] += [*([r"\midrule"] if found[-1] else []), *title]
            cells = [(style.cell if i >= table.left else _cell)(row[i]) for i in chosen]
            found[-1].append(" & ".join(cells) + r" \\")
            begun = True
    return found


def _tabular(table: Table, chosen: Sequence[int], text: Sequence[float], lines: list[str], style: Numbers) -> str:
    def kind(i: int) -> str:
        if i >= table.left:
            return style.column([row[i] for row in table.rows])
        return "l" if text[i] <= NAME else f"p{{{NAME:g}pt}}"

    kinds = "".join(map(kind, chosen))
    broken = any(i < table.left and text[i] > NAME for i in chosen[:1])
    indented = [rf"\raggedright\hangindent=1em {line}" if broken and line[0] != "\\" else line for line in lines]
    heads = " & ".join((style.head if i >= table.left else escape)(table.columns[i]) for i in chosen) + r" \\"
    return "\n".join(
        [
            rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
            r"\toprule",
            heads,
            r"\midrule",
            *indented,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _packed(tabulars: Sequence[str]) -> list[list[str]]:
    """As many tabulars in each float as its height takes."""
    floats: list[list[str]] = []
    height = HEIGHT
    for tabular in tabulars:
        lines = tabular.count("\n") + 1
        if height + lines > HEIGHT:
            floats.append([])
            height = 0
        floats[-1].append(tabular)
        height += lines
    return floats


def _notes(table: Table) -> str:
    marks = [("Bold: ", table.best), (r"$^\dagger$", table.unbeaten), ("Underlined: ", table.second)]
    lines = [*(mark + escape(text) for mark, text in marks if text), *map(escape, table.notes)]
    return NOTES % "\\\\\n".join(lines) if lines else ""


def _cell(cell: Cell) -> str:
    r"""`\textbf{2.41}\,{\scriptsize$\pm$\,0.12}`, `Bespoke~\cite{shaul2024bespoke} {\scriptsize[RK1]}`."""
    text = escape(cell.text)
    text = rf"\textbf{{{text}}}" if cell.best else rf"\underline{{{text}}}" if cell.second else text
    cites = rf"~\cite{{{','.join(cell.cites)}}}" if cell.cites else ""
    detail = rf" {{\scriptsize[{escape(cell.detail)}]}}" if cell.detail else ""
    error = rf"\,{{\scriptsize$\pm$\,{escape(cell.error)}}}" if cell.error else ""
    shown = text + cites + detail + error + r"\rlap{$^\dagger$}" * cell.unbeaten
    return rf"\recalled{{{shown}}}" if cell.muted and shown else shown


def _points(cell: Cell) -> float:
    r"""A width that a cell does not exceed, nearly: characters of Computer Modern in 8 points, \scriptsize in 7."""
    cites = 5.0 + 12.0 * len(cell.cites) if cell.cites else 0.0
    detail = 0.9 * _wide(cell.detail) + 8.0 if cell.detail else 0.0
    error = 0.9 * _wide(cell.error) + 11.0 if cell.error else 0.0
    return _wide(cell.text) * (1.15 if cell.best else 1.0) + cites + detail + error


def _wide(text: str) -> float:
    return sum(7.5 if c in "mwMW@%" else 6.2 if c.isupper() or c in "+=<>" else 4.6 for c in text)


LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "σ": r"$\sigma$",
    "–": "--",
    "…": r"\ldots{}",
    "*": r"$^*$",
    "†": r"\secondary{}",
}
LONG = 16
"""Characters of a word after which it may be broken."""


def escape(text: str) -> str:
    """The text for LaTeX, on one line, in which long words may be broken."""
    return " ".join(_word(word) for word in text.split())


def _word(word: str) -> str:
    found, since, before = "", 0, ""
    for character in word:
        ligature = "{}" * (character == before and character in "-'")
        found, since, before = found + ligature + _character(character), since + 1, character
        if len(word) > LONG and (character in "/=,@_-:." or since >= LONG):
            found, since = found + r"\allowbreak{}", 0
    return found


def _character(character: str) -> str:
    """What LaTeX cannot set is written without its accents, or as its code point."""
    if character in LATEX or character.isascii() or "À" <= character <= "ſ":
        return LATEX.get(character, character if character.isprintable() else "")
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(LATEX.get(c, c) for c in plain) or f"U+{ord(character):04X}"
