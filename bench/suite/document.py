"""From a schema's complaint to one line that a person can act on: file, line, key, reason, nearest name."""

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from ...methods.register import did_you_mean
from ..errors import InputError

Location = tuple[int | str, ...]


class Document:
    """A YAML file as data, with the line of every key, and settings laid over it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.data: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            raise InputError(f"{name}{line}: not YAML: {getattr(error, 'problem', error)}") from None
        if not isinstance(self.data, dict):
            raise InputError(f"{name}: a suite is a mapping of keys to values")
        self._set: dict[Location, str] = {}

    def set(self, setting: str) -> None:
        """Lay KEY=VALUE over the data; KEY is dotted, list items by number, VALUE is YAML."""
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InputError(f"--set {setting}: expected KEY=VALUE, such as --set seeds=[0,1]")
        location: Location = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {setting}: the value is not YAML") from None
        parent = self.data
        for part in location[:-1]:
            try:
                parent = parent.setdefault(part, {}) if isinstance(parent, dict) else parent[part]
            except (IndexError, TypeError, AttributeError):
                raise InputError(f"--set {setting}: the suite has nothing at {key!r}") from None
        try:
            parent[location[-1]] = parsed
        except (IndexError, TypeError):
            raise InputError(f"--set {setting}: the suite has nothing at {key!r}") from None
        self._set[location] = setting

    def at(self, location: Location, message: str) -> str:
        """ "file:line: key.path: message"; a value that --set gave is named by it."""
        for depth in range(len(location), 0, -1):
            for given, setting in self._set.items():
                if _unlisted(given) == _unlisted(location[:depth]):
                    return f"--set {setting}: {message}"
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
        return f"{self.name}:{self._line(location)}: {key + ': ' if key else ''}{message}"

    def _line(self, location: Location) -> int:
        node: Any = self._root
        line = node.start_mark.line
        for part in location:
            if isinstance(part, int) and not isinstance(node, yaml.SequenceNode):
                continue
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == str(part)]
                if not found:
                    break
                line, node = found[0][0].start_mark.line, found[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line
        return line + 1


def _unlisted(location: Location) -> Location:
    """A location without its zeros: a value alone and the first of a list are the same place."""
    return tuple(part for part in location if part != 0)


def complaint(prefix: Location, error: ValidationError, model: type[BaseModel]) -> tuple[Location, str]:
    """(location, message) of the first complaint of `error`; `prefix` is where `model`'s data lie in the document."""
    first = error.errors()[0]
    location, kind = tuple(first["loc"]), first["type"]
    place = tuple(part for part in location if not _is_tag(model, location, part))
    if kind == "extra_forbidden":
        known = sorted(_fields(model, location[:-1]))
        message = f"unknown key {str(location[-1])!r}{did_you_mean(str(location[-1]), known)}"
    elif kind == "missing":
        message, place = f"{location[-1]!r} is missing", place[:-1]
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        expected = first["ctx"].get("expected_tags", "'name'")
        message = f"'name' must be one of {expected}, not {first['ctx'].get('tag', 'left out')!r}"
    else:
        given = first.get("input")
        shown = f", not {given!r}" if isinstance(given, str | int | float | bool | type(None)) else ""
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be") + shown
    return (*prefix, *place), message


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
