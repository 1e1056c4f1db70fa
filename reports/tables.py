"""One table model and its writers: terminal, Markdown, LaTeX, HTML."""

from dataclasses import dataclass

from jinja2 import Environment


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]
    left: int = 3
    """So many columns hold text; the others hold numbers and are set to the right."""


def write(table: Table, style: str) -> str:
    """The table as text in one of the styles table, markdown, latex, html."""
    return {"table": to_text, "markdown": to_markdown, "latex": to_latex, "html": to_html}[style](table)


def to_text(table: Table) -> str:
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    body = [
        "  ".join(
            cell.ljust(widths[i]) if i < table.left else cell.rjust(widths[i]) for i, cell in enumerate(line)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, "", body[0], "-" * max(map(len, body)), *body[1:], *table.notes])


def to_markdown(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"

    rule = "|" + "|".join("---" if i < table.left else "--:" for i in range(len(table.columns))) + "|"
    body = [line(table.columns), rule, *map(line, table.rows)]
    notes = [note.replace("*", "\\*") for note in table.notes]
    return "\n".join([f"**{table.title}**", "", *body, "", "<br>".join(notes)])


def to_latex(table: Table) -> str:
    """A booktabs table that compiles as it is."""
    columns = "".join("l" if i < table.left else "r" for i in range(len(table.columns)))
    lines = [" & ".join(map(escape_latex, cells)) + r" \\" for cells in (table.columns, *table.rows)]
    caption = escape_latex(". ".join([table.title, *table.notes]))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "*": r"$^*$",
}


def escape_latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


_HTML = Environment(autoescape=True).from_string(
    """<table><caption>{{ table.title }}</caption>
<thead><tr>{% for column in table.columns %}<th>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}
<tr>{% for cell in row %}<td\
{% if loop.index0 >= table.left %} class="number{{ ' best' if cell.endswith('*') }}"{% endif %}>\
{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table>
{% for note in table.notes %}<p class="note">{{ note }}</p>
{% endfor %}"""
)


def to_html(table: Table) -> str:
    return _HTML.render(table=table)
