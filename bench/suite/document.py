"""From a schema's complaint to one line that a person can act on: file, line, key, reason, nearest name."""

import difflib
import re
import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from ...methods.register import did_you_mean
from ..errors import InputError
from .reading import Unclear, parsed

Location = tuple[int | str, ...]
MAPPING = "must be a valid dictionary.*"
INDEX = "0|[1-9][0-9]{0,8}"


class Document:
    """A YAML file as data, with the line of every key, and settings laid over it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            self.data, self._root = parsed(text)
        except yaml.YAMLError as error:
            raise InputError(_not_read(name, text, error)) from None
        if not isinstance(self.data, dict):
            raise InputError(f"{name}: a suite is a mapping of keys to values")
        self._set: dict[Location, str] = {}

    def set(self, setting: str) -> None:
        """Lay KEY=VALUE over the data; KEY is dotted, list items by number, VALUE is YAML."""
        key, equals, value = setting.partition("=")
        shown = shortened(setting)
        if not equals or not key:
            raise InputError(f"--set {shown}: expected KEY=VALUE, such as --set seeds=[0,1]")
        location: Location = tuple(int(part) if re.fullmatch(INDEX, part) else part for part in key.split("."))
        for given, earlier in self._set.items():
            if given[: len(location)] == location:
                how = "is set twice, also by" if given == location else "would replace what is set by"
                raise InputError(f"--set {shown}: {shortened(key)!r} {how} --set {shortened(earlier)}")
        try:
            data, _ = parsed(value)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) if isinstance(error, Unclear) else None
            raise InputError(f"--set {shown}: {problem or 'the value is not YAML'}") from None
        self._lay(location, data, shown)
        self._set[location] = setting

    def _lay(self, location: Location, value: Any, shown: str) -> None:
        parent = self.data
        try:
            for depth, part in enumerate(location):
                if isinstance(parent, dict) and isinstance(part, int):
                    above = repr(_dotted(location[:depth])) if depth else "the suite"
                    raise InputError(f"--set {shown}: {above} is no list: leave out the {part}")
                if depth == len(location) - 1:
                    parent[part] = value
                else:
                    parent = parent.setdefault(part, {}) if isinstance(parent, dict) else parent[part]
        except (IndexError, TypeError, AttributeError):
            raise InputError(f"--set {shown}: the suite has nothing at {_dotted(location)!r}") from None

    def at(self, location: Location, message: str, first: Location | None = None) -> str:
        """ "file:line: key.path: message", in one line; a value that --set gave is named by it.

        first: the place of what `location` repeats, named after the message.
        """
        message = shortened(message, 300)
        if first is not None:
            message += f" (first {_key(first)}" + (")" if self._setting(first) else f" on line {self.line(first)})")
        if (setting := self._setting(location)) is not None:
            place = f"{_key(location)}: " if first is not None else ""
            return f"--set {shortened(setting)}: {place}{message}"
        key = _key(location)
        return f"{self.name}:{self.line(location)}: {key + ': ' if key else ''}{message}"

    def _setting(self, location: Location) -> str | None:
        """The setting that gave the value there, or made what is above it."""
        for depth in range(len(location), 0, -1):
            for given, setting in self._set.items():
                if _unlisted(given) == _unlisted(location[:depth]):
                    return setting
        if self._node(location)[1]:
            return None
        made = (setting for given, setting in self._set.items() if given[: len(location)] == location)
        return next(made, None) if location else None

    def has(self, location: Location) -> bool:
        """Whether the file or a setting gives the value there."""
        return self._node(location)[1] or self._setting(location) is not None

    def line(self, location: Location) -> int:
        """The line of a place in the file, or of the nearest above it."""
        return self._node(location)[0]

    def _node(self, location: Location) -> tuple[int, bool]:
        """The line of a place in the file, or of the nearest above it; whether the place itself is in the file."""
        node: Any = self._root
        line = node.start_mark.line
        for part in location:
            if isinstance(part, int) and not isinstance(node, yaml.SequenceNode):
                continue
            found: list[tuple[int, Any]] = []
            if isinstance(node, yaml.MappingNode):
                # The last: a mapping's own keys come after those that it merges.
                found = [(key.start_mark.line, value) for key, value in node.value if key.value == str(part)][-1:]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                found = [(value.start_mark.line, value) for value in node.value[part : part + 1]]
            if not found:
                return line + 1, False
            line, node = found[0]
        return line + 1, True


def shortened(text: str, most: int = 80) -> str:
    """One line of at most about `most` characters, the middle left out."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most // 2]} ... {line[-most // 3 :]}"


def _dotted(location: Location) -> str:
    return shortened(".".join(map(str, location)))


def _key(location: Location) -> str:
    shown = (part if isinstance(part, int) or part.isprintable() else repr(part)[1:-1] for part in location)
    joined = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in shown).lstrip(".")
    return shortened(joined, 200)


def _not_read(name: str, text: str, error: yaml.YAMLError) -> str:
    """What is wrong with the text of a file, with its line where that is known."""
    mark = getattr(error, "problem_mark", None)
    place = f"{name}:{mark.line + 1}" if mark else name
    if isinstance(error, yaml.reader.ReaderError):
        return f"{place}:{text.count(chr(10), 0, error.position) + 1}: not YAML: the character {chr(error.character)!r}"
    problem = shortened(str(getattr(error, "problem", None) or error), 300)
    if not isinstance(error, Unclear):
        opened = getattr(error, "context_mark", None)
        where = f", in what begins on line {opened.line + 1}" if mark and opened and opened.line != mark.line else ""
        return f"{place}: not YAML: {problem}{where}"
    return f"{place}: {problem}" + (f", first on line {error.first}" if error.first is not None else "")


def _unlisted(location: Location) -> Location:
    """A location without its zeros: a value alone and the first of a list are the same place."""
    return tuple(part for part in location if part != 0)


def complaints(prefix: Location, error: ValidationError, model: type[BaseModel]) -> list[tuple[Location, str]]:
    """(location, message) of each complaint of `error`; `prefix` is where `model`'s data lie in the document."""
    errors = error.errors()
    misspelt = [e["loc"][:-1] for e in errors if e["type"] == "extra_forbidden" and _is_near_missing(e, errors)]
    said: dict[Any, tuple[Location, str]] = {}
    for one in errors:
        # What is missing may only be misspelt.
        if one["type"] != "missing" or one["loc"][:-1] not in misspelt:
            said.setdefault(_choice(model, one) or one["loc"], _complaint(prefix, one, model))
    return list(said.values())


def _choice(model: type[BaseModel], error: Any) -> Location | None:
    """The place where one of several forms could stand, if the error is one of those that it has for each."""
    location = tuple(error["loc"])
    for i, part in enumerate(location[: -1 if error["type"] == "extra_forbidden" else None]):
        if isinstance(part, int) or part in _fields(model, location[:i]) or _is_tag(model, location, part):
            continue
        owners = _walk(model, location[: i - 1]) if i else []
        annotations = (m.model_fields[key].annotation for m in owners if (key := location[i - 1]) in m.model_fields)
        return None if any("dict[" in str(annotation) for annotation in annotations) else location[:i]
    return None


def _is_near_missing(extra: Any, errors: Sequence[Any]) -> bool:
    """Whether an unknown key looks like one that is missing beside it."""
    beside = [e["loc"][-1] for e in errors if e["type"] == "missing" and e["loc"][:-1] == extra["loc"][:-1]]
    return bool(difflib.get_close_matches(str(extra["loc"][-1]), map(str, beside), n=1))


def _complaint(prefix: Location, error: Any, model: type[BaseModel]) -> tuple[Location, str]:
    location, kind = tuple(error["loc"]), error["type"]
    place = tuple(part for part in location if not _is_tag(model, location, part))
    if kind == "extra_forbidden":
        known = sorted(_fields(model, location[:-1]))
        message = f"unknown key {str(location[-1])!r}{did_you_mean(str(location[-1]), known)}"
    elif kind == "missing":
        message, place = f"{location[-1]!r} is missing", place[:-1]
    elif kind == "union_tag_not_found":
        message = "'name' is missing"
    elif kind == "union_tag_invalid":
        message = f"'name' must be one of {error['ctx']['expected_tags']}, not {error['ctx']['tag']!r}"
    elif kind == "too_short":
        message = f"must have at least {error['ctx']['min_length']} item"
    else:
        given = error.get("input")
        shown = f", not {_repr(given)}" if isinstance(given, str | int | float | bool | type(None)) else ""
        quoted = "; put it in quotes" if kind == "string_type" and isinstance(given, int | float) else ""
        message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        message = re.sub(MAPPING, "must be a mapping", message.replace("String should", "must")) + shown + quoted
    return (*prefix, *place), message


def _repr(given: Any) -> str:
    large = isinstance(given, int) and abs(given) >= 10**40
    return "a number of more than 40 digits" if large else shortened(repr(given))


def _members(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation: through Annotated, lists, unions and None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, list, tuple, Union, types.UnionType):
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return []


def _tag(model: type[BaseModel]) -> Any:
    return model.model_fields["name"].default if "name" in model.model_fields else None


def _walk(model: type[BaseModel], location: Sequence[int | str]) -> list[type[BaseModel]]:
    """The models that may stand at a pydantic location, whose parts are keys, indices and union tags."""
    models = [model]
    for part in location:
        tagged = [member for member in models if len(models) > 1 and _tag(member) == part]
        if tagged:
            models = tagged
        elif isinstance(part, str):
            models = [m for at in models if part in at.model_fields for m in _members(at.model_fields[part].annotation)]
    return models


def _fields(model: type[BaseModel], location: Sequence[int | str]) -> set[str]:
    return {name for member in _walk(model, location) for name in member.model_fields}


def _is_tag(model: type[BaseModel], location: Location, part: int | str) -> bool:
    before = _walk(model, location[: location.index(part)])
    return isinstance(part, str) and len(before) > 1 and any(_tag(member) == part for member in before)
