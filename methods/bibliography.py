"""The papers behind the methods, solvers and metrics: `papers.bib`, read without torch.

A docstring cites a paper by its key and arXiv number, such as (song2023consistency, arXiv:2303.01469).
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "papers.bib"
ENTRY = re.compile(r"^@\w+\{(?P<key>[^,\s]+),\n(?P<fields>.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^  (?P<name>\w+) = \{(?P<value>.*)\},$", re.MULTILINE)
KEY = re.compile(r"\b[a-z]+(?:19|20)\d\d[a-z]+\b")
"""A key: the first author, the year and the first telling word of the title."""


@dataclass(frozen=True)
class Paper:
    """An entry: authors as "Family, Given", arxiv None for what is older than arXiv, raw as BibTeX reads it."""

    key: str
    title: str
    authors: tuple[str, ...]
    year: int
    arxiv: str | None
    raw: str


@cache
def entries() -> dict[str, Paper]:
    """The bibliography by key, in the file's order."""
    return parsed(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))


def parsed(text: str) -> dict[str, Paper]:
    """Entries in the file's own layout: one field a line. ValueError for another layout, a key twice, a field short."""
    papers: dict[str, Paper] = {}
    for match in ENTRY.finditer(text):
        paper = _paper(match)
        if paper.key in papers:
            raise ValueError(f"{FILE}: {paper.key} appears twice")
        papers[paper.key] = paper
    if len(papers) != text.count("@"):
        raise ValueError(f"{FILE}: {text.count('@')} entries begin, {len(papers)} could be read")
    return papers


def _paper(match: re.Match[str]) -> Paper:
    key, fields = match["key"], {field["name"]: field["value"] for field in FIELD.finditer(match["fields"])}
    if missing := {"title", "author", "year"} - fields.keys():
        raise ValueError(f"{FILE}: {key} has no {', '.join(sorted(missing))}")
    title = fields["title"].replace("{", "").replace("}", "")
    authors = tuple(fields["author"].split(" and "))
    return Paper(key, title, authors, int(fields["year"]), fields.get("eprint"), match[0])


def cited(text: str) -> tuple[str, ...]:
    """The keys that a text cites, known or not, each once."""
    return tuple(dict.fromkeys(KEY.findall(text)))
