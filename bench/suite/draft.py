"""A suite without its mistakes: what is wrong is taken out, so that the rest can be looked at too. No torch."""

import copy
import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from .document import Document, Location, complaints
from .schema import Suite

ROUNDS = 100
"""Each takes something out."""
STAND_INS: dict[str, Any] = {"name": "suite", "methods": ["euler"], "nfe": [1], "metrics": ["rmse"]}
"""For required keys that are absent or wrong; what is said of them is not the author's mistake."""


PROBLEMS = ("datasets", "teachers", "problems")
"""Where one of these is wrong, the others are not missing."""


class Draft:
    """The data of a suite file, from which wrong parts are removed; places are those of the file throughout."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._data = copy.deepcopy(document.data)
        self._kept: dict[Location, list[int]] = {}
        self._removed: list[Location] = []

    def suite(self) -> tuple[Suite | None, list[tuple[Location, str]]]:
        """(what is left, as a suite; what its schema says against the rest). None where nothing is left to look at."""
        found: list[tuple[Location, str]] = []
        for _ in range(ROUNDS):
            try:
                return Suite.model_validate(self._data), found
            except ValidationError as error:
                said = [(self.original(place), message) for place, message in complaints((), error, Suite)]
            found += [one for one in said if not self.explains(*one)]
            if not self.remove(place for place, _ in said):
                break
        return None, found

    def original(self, place: Location) -> Location:
        """Where in the file a place of the suite is, whose lists may be shorter."""
        found: Location = ()
        for part in place:
            kept = self._kept.get(found)
            found = (*found, kept[part] if isinstance(part, int) and kept is not None and part < len(kept) else part)
        return found

    def explains(self, place: Location, message: str) -> bool:
        """Whether what is said of that place of the file follows from what was removed: from its being gone, or from
        the default that took its place.
        """
        if not place:
            return any(_is_why(str(part), message) for gone in self._removed for part in gone)
        if any(place == gone[: len(place)] or gone == place[: len(gone)] for gone in self._removed):
            return True
        beside = len(place) > 2 and any(place[:-1] == gone[:-1] for gone in self._removed)
        return beside and not self._document.has(place)

    def remove(self, places: Iterable[Location]) -> bool:
        """Take out what is at these places of the file, or the nearest around them; whether anything was there."""
        return sum(map(self._remove, places)) > 0

    def _remove(self, place: Location) -> bool:
        steps: list[tuple[Any, Any, Location]] = []
        node: Any = self._data
        path: Location = ()
        for part in place:
            path = (*path, part)
            if isinstance(part, int) and not isinstance(node, list):
                continue
            key = self._index(path, node) if isinstance(part, int) else part
            present = (isinstance(node, dict) and key in node) or (isinstance(node, list) and isinstance(key, int))
            if key is None or not present:
                break
            steps.append((node, key, path))
            node = node[key]
        if not steps:
            return self._stand_in(place)
        parent, key, path = steps[-1]
        if isinstance(parent, list):
            self._kept[path[:-1]].pop(key)
        del parent[key]
        self._removed.append(path)
        return True

    def _index(self, path: Location, items: list[Any]) -> int | None:
        """Where an item of the file's list is now, None if it, or the whole list, was taken out."""
        kept = self._kept.setdefault(path[:-1], list(range(len(items))))
        index = kept.index(path[-1]) if path[-1] in kept else len(items)
        return index if index < len(items) else None

    def _stand_in(self, place: Location) -> bool:
        """Something for a required key that is absent."""
        absent = {key: value for key, value in STAND_INS.items() if key not in self._data}
        self._data |= copy.deepcopy(absent)
        self._removed += [(key,) for key in absent]
        return bool(absent)


def _is_why(gone: str, message: str) -> bool:
    """Whether a key that was taken out, misspelt or wrong, is why another is said to be missing."""
    missing = re.match("'(\\w+)' is missing", message)
    if missing is None:
        return False
    key = missing[1]
    return bool(difflib.get_close_matches(gone, [key])) or (gone in PROBLEMS and key in PROBLEMS)
