"""The options of a method or teacher: name, values, default, meaning, read off their class. No torch."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Option:
    """One option.

    values: what it may be, in words. choices: the same where they can be listed, else empty.
    default: as JSON has it; None also where it is required. of: for options inside options, the choice that has them.
    options: those inside it.
    """

    name: str
    values: str
    choices: tuple[Any, ...]
    default: Any
    required: bool
    description: str
    of: str
    options: tuple["Option", ...]

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def first_line(self) -> str:
        """Default and values, as a suite writes them."""
        if self.required:
            return f"required ({self.values})"
        default = self.default
        if isinstance(default, dict):
            default = default.get("name")
            return f"{_written(default)} ({self.values})" if default else "(options below)"
        return f"{_written(default)} ({self.values})"


def options_of(model: type[BaseModel], of: str = "") -> tuple[Option, ...]:
    """The options of a class, in its order."""
    return tuple(_option(info.alias or name, info, of) for name, info in model.model_fields.items())


def rows(options: Iterable[Option], depth: int = 0) -> Iterator[tuple[str, list[str]]]:
    """(name, paragraphs) of each option, those inside it indented below it."""
    blank = "  " * depth
    for option in options:
        yield blank + option.name, [option.first_line(), option.description]
        for of, inner in groupby(option.options, key=lambda option: option.of):
            if of:
                yield f"{blank}  with name: {of}", []
            yield from rows((i for i in inner if i.choices != (of,)), depth + (2 if of else 1))


def _option(name: str, info: FieldInfo, of: str) -> Option:
    required = info.is_required()
    default = None if required else _plain(info.get_default(call_default_factory=True))
    models = list(_models(info.annotation))
    inner = tuple(
        option for model in models for option in options_of(model, _constant(model) if len(models) > 1 else "")
    )
    return Option(
        name,
        _values(info.annotation, info.metadata),
        tuple(_choices(info.annotation)),
        default,
        required,
        info.description or "",
        of,
        inner,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The classes of options inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _models(part)


def _constant(model: type[BaseModel]) -> str:
    """The `name` by which a union of options is told apart."""
    return str(model.model_fields["name"].default) if "name" in model.model_fields else model.__name__


def _choices(annotation: Any) -> Iterator[Any]:
    """The values of an annotation that has finitely many, else nothing."""
    parts = [_choice(part) for part in _parts(annotation)]
    if all(part is not None for part in parts):
        for part in parts:
            yield from part or ()


def _choice(part: Any) -> tuple[Any, ...] | None:
    if get_origin(part) is Literal:
        return get_args(part)
    if isinstance(part, type) and issubclass(part, BaseModel) and "name" in part.model_fields:
        return (_constant(part),)
    return {bool: (True, False), NoneType: (None,)}.get(part)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation itself."""
    if get_origin(annotation) in (Literal, tuple, list, dict, Annotated, None):
        return (annotation,)
    return get_args(annotation)


def _values(annotation: Any, metadata: Iterable[Any]) -> str:
    return " | ".join(_value(part, list(metadata)) for part in _parts(annotation))


def _value(part: Any, metadata: list[Any]) -> str:
    """One member of a union in words."""
    origin, inner = get_origin(part), get_args(part)
    if origin is Annotated:
        further = [limit for note in inner[1:] for limit in getattr(note, "metadata", [note])]
        return _values(inner[0], [*metadata, *further])
    if (choice := _choice(part)) is not None:
        return " | ".join(map(_written, choice))
    if origin in (tuple, list):
        if inner[-1] is Ellipsis or origin is list:
            return f"list of {_value(inner[0], [])}s{_length(metadata)}"
        return f"[{', '.join(_value(part, []) for part in inner)}]"
    if part in (int, float):
        return {int: "integer", float: "number"}[part] + _bounds(metadata)
    return "text" + _length(metadata) if part is str else "options below"


def _bounds(metadata: list[Any]) -> str:
    """The limits of a number: " in [0, 1)", " > 0", " >= 8, a multiple of 8"."""
    given = {key: getattr(limit, key) for limit in metadata for key in ("ge", "gt", "le", "lt") if hasattr(limit, key)}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    if len(given) == 2:
        low, high = ((key, given[key]) for key in sorted(given))
        text = f" in {'[' if low[0] == 'ge' else '('}{low[1]:g}, {high[1]:g}{']' if high[0] == 'le' else ')'}"
    else:
        text = "".join(f" {signs[key]} {bound:g}" for key, bound in given.items())
    multiple = next((limit.multiple_of for limit in metadata if hasattr(limit, "multiple_of")), None)
    return text + (f", a multiple of {multiple}" if multiple else "")


def _length(metadata: list[Any]) -> str:
    """The limits of a text or a list."""
    low = next((limit.min_length for limit in metadata if hasattr(limit, "min_length")), None)
    high = next((limit.max_length for limit in metadata if hasattr(limit, "max_length")), None)
    if low is not None and high is not None:
        return f" of length {low} to {high}"
    return f", at least {low}" if low is not None else f", at most {high}" if high is not None else ""


def _written(value: Any) -> str:
    """As YAML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str):
        return value
    return f"{value:.12g}" if isinstance(value, float) else json.dumps(value)
