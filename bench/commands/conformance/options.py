"""Variants of a method: its default options, and each choice among a few named ones, one at a time. No torch."""

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ....methods.options import Options
from .properties import Failed, one_line, require

TYPO = "misspelt_option"


def variants(options: type[Options]) -> list[Options]:
    """The default options, then those that differ from them in one Literal or bool field, also of a nested model.

    Left out are those that the model refuses, and those that need what this machine lacks.
    """
    default = options()
    found = [default]
    for change in _changes(default):
        try:
            chosen = options.model_validate(change)
        except ValidationError:
            continue
        if chosen not in found and chosen.missing() is None:
            found.append(chosen)
    return found


def _changes(model: BaseModel) -> Iterator[dict[str, Any]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        for choice in _choices(field.annotation):
            if choice != value:
                yield {name: choice}
        if isinstance(value, BaseModel):
            given = value.model_dump()
            for change in _changes(value):
                yield {name: {**given, **change}}


def _choices(annotation: Any) -> Iterator[Any]:
    """The values that an annotation names: of a Literal or bool, and the defaults of models in a union."""
    if annotation is bool:
        yield from (False, True)
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            if isinstance(member, type) and issubclass(member, BaseModel):
                yield member().model_dump()
            else:
                yield from _choices(member)


def label(options: Options) -> str:
    """What differs from the defaults, as in `(grid.end=min)`; empty for the defaults."""
    changed = _flat(options.model_dump(exclude_defaults=True, exclude_unset=False))
    return "" if not changed else f" ({', '.join(f'{key}={value}' for key, value in changed.items())})"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def defaults_are_valid(options: type[Options]) -> None:
    try:
        default = options()
        again = options.model_validate(default.model_dump())
    except ValidationError as error:
        raise Failed(f"a row without options is refused: {one_line(error)}; give every option a default") from None
    require(again == default, "the default options change when they are written to a suite and read again")


def typos_are_refused(options: type[Options]) -> None:
    try:
        options.model_validate({TYPO: 1})
    except ValidationError as error:
        located = [found for found in error.errors() if found["loc"][:1] == (TYPO,)]
        require(bool(located), f"the error for the unknown option {TYPO!r} does not name it: {one_line(error)}")
        require("\n" not in located[0]["msg"], "the error for an unknown option has several lines: say it in one")
        return
    raise Failed(f'the unknown option {TYPO!r} is accepted: derive the options from Options, which has extra="forbid"')
