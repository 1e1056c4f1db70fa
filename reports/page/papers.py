"""The papers that methods cite, as links."""

import re
from dataclasses import dataclass

ENTRY = re.compile(r"@\w+\{([^,\s]+),(.*?)\n\}", re.DOTALL)
ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7}")
WEB = re.compile(r"https?://[^\s\"'<>]+")


@dataclass(frozen=True)
class Paper:
    """url: its page at arXiv, or that which the bibliography names; empty where it names none."""

    title: str
    year: str
    url: str


def read(bibliography: str) -> dict[str, Paper]:
    """The papers of a BibTeX text by key."""
    return {key: _paper(key, body) for key, body in ENTRY.findall(bibliography)}


def _paper(key: str, body: str) -> Paper:
    eprint, url = _field(body, "eprint"), _field(body, "url")
    place = f"https://arxiv.org/abs/{eprint}" if ARXIV.fullmatch(eprint) else url if WEB.fullmatch(url) else ""
    return Paper(_field(body, "title") or key, _field(body, "year"), place)


def _field(body: str, name: str) -> str:
    found = re.search(rf"^\s*{name}\s*=\s*[{{\"](.*?)[}}\"],?\s*$", body, re.MULTILINE)
    return re.sub(r"[{}]", "", found[1]).strip() if found else ""
