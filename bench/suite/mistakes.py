"""Every mistake of a suite file, those of its schema and those against rules, in the order of its lines. No torch."""

from collections.abc import Sequence

from ..errors import printable
from .checks import PRESUPPOSED, RULES
from .document import Document, Location
from .draft import Draft
from .fits import Complaint, Rule
from .schema import Suite


def mistakes(document: Document, rules: Sequence[Rule] = RULES) -> tuple[Suite | None, list[str]]:
    """(the suite, or what is left of it without its mistakes; a line for each mistake).

    A rule that others take for granted is kept by taking out what is against it, so that the others can still be asked.
    """
    draft = Draft(document)
    suite, schema = draft.suite()
    found: list[Complaint] = list(schema)
    for rule in rules:
        while suite is not None and (against := _against(rule, suite, draft)):
            found += [one for one in against.values() if not draft.explains(*one[:2])]
            if rule not in PRESUPPOSED or not draft.remove(list(against)):
                break
            suite, derived = draft.suite()
            found += derived
    placed = sorted(found, key=lambda one: document.line(one[0]))
    return suite, list(dict.fromkeys(printable(document.at(*one)) for one in placed))


def _against(rule: Rule, suite: Suite, draft: Draft) -> dict[Location, Complaint]:
    """What a rule says, at places of the file; of what it says of one place, the first."""
    said: dict[Location, Complaint] = {}
    for place, message, *first in rule(suite):
        here = draft.original(place)
        said.setdefault(here, (here, message, *map(draft.original, first)))  # type: ignore[arg-type]
    return said
