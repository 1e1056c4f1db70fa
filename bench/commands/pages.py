"""`fewstep show`: the page of one name, for people and for programs. No torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from .catalogue import Entry
from .chosen import chosen
from .facts import FACTS, MODELS, Fact, cited
from .layout import heading, table, wrapped
from .option_table import Option, options_of, rows


@dataclass(frozen=True)
class Page:
    """What `show` says of an entry; options is None for what has none by its nature."""

    entry: Entry
    facts: tuple[Fact, ...]
    options: tuple[Option, ...] | None

    def json(self) -> dict[str, Any]:
        """The entry as `list --json` has it, its facts on the same level, and `options`."""
        options = {} if self.options is None else {"options": [option.json() for option in self.options]}
        return {**self.entry.json(), **{fact.key: fact.value for fact in self.facts}, **options}

    def lines(self) -> Iterator[str]:
        """For people, wrapped to the terminal."""
        entry = self.entry
        display = f": {entry.display}" if entry.display not in ("", entry.name) else ""
        kind = entry.group.removesuffix("s") if entry.kind == "method" else entry.kind
        yield f"{click.style(entry.name, bold=True)}{display} ({kind})"
        yield from wrapped(entry.summary, 2)
        yield ""
        yield from table((fact.label, fact.lines) for fact in self.facts if fact.lines)
        if self.options:
            yield ""
            yield heading("options")
            yield from table(rows(self.options))


def page(entry: Entry) -> Page:
    """The page of an entry; InputError for a suite with a mistake in it."""
    facts = (*FACTS[entry.kind](entry), *cited(entry.papers))
    models = MODELS.get(entry.kind, {})
    if entry.name not in models:
        return Page(entry, facts, None)
    origins = chosen(entry.name) if entry.kind == "method" else {}
    return Page(entry, facts, _with_origin(options_of(models[entry.name].options), origins))


def _with_origin(options: tuple[Option, ...], chosen: Mapping[str, str], within: str = "") -> tuple[Option, ...]:
    """The options, of which those say so whose default the suite `defaults` has chosen."""
    return tuple(
        replace(
            option,
            description=f"{option.description} Chosen by the suite `defaults`."
            if f"{within}{option.name}" in chosen and chosen[f"{within}{option.name}"] == f"{option.default:g}"
            else option.description,
            options=_with_origin(option.options, chosen, f"{within}{option.name}."),
        )
        for option in options
    )
