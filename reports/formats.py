"""Tables as text: for the terminal, Markdown, LaTeX and HTML."""

from jinja2 import Environment

from . import latex, markdown, terminal
from .tables import Table


def write(table: Table, style: str, width: int | None = None) -> str:
    """The table as text in one of the styles table, markdown, latex, siunitx, html.

    width: of the style table, in characters; by default that of the terminal, or 100 where there is none.
    """
    if style == "table":
        return terminal.write(table, width or terminal.width())
    styles = {"markdown": markdown.write, "latex": latex.write, "siunitx": latex.write_siunitx, "html": to_html}
    return styles[style](table)


_HTML = Environment(autoescape=True).from_string(
    """<table><caption>{{ table.title }}</caption>
<thead><tr>{% for column in table.columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
{% for group in table.groups %}<tbody>\
{% if group.title %}
<tr><th scope="rowgroup" colspan="{{ table.columns|length }}">{{ group.title }}</th></tr>{% endif %}
{% for row in group.rows %}
<tr>{% for cell in row %}<td\
{% if loop.index0 >= table.left %} class="number{{ ' best' if cell.best }}"{% endif %}>\
{% if cell.muted %}<i style="color: gray">{{ cell }}</i>{% else %}{{ cell }}{% endif %}</td>\
{% endfor %}</tr>{% endfor %}
</tbody>{% endfor %}</table>
{% for note in table.said %}<p class="note">{{ note }}</p>
{% endfor %}"""
)


def to_html(table: Table) -> str:
    return _HTML.render(table=table)
