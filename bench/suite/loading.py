"""From the name or the file of a suite to a checked suite; every mistake is named with its line. No torch."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ...methods.register import did_you_mean
from ..errors import InputError
from .checks import RULES
from .document import Document, complaint
from .schema import Suite

SHIPPED = Path(__file__).parent / "shipped"


def find(suite: str) -> Path:
    """The file that SUITE means: a path, or the name of a shipped suite."""
    path = Path(suite)
    if path.is_file():
        return path
    shipped = shipped_names()
    if suite in shipped:
        return SHIPPED / f"{suite}.yaml"
    raise InputError(f"no suite {suite!r}: not a file, nor a shipped suite{did_you_mean(suite, shipped)}")


def shipped_names() -> list[str]:
    return sorted(str(path.relative_to(SHIPPED).with_suffix("")) for path in SHIPPED.rglob("*.yaml"))


def load(suite: str, settings: Sequence[str] = ()) -> Suite:
    """The suite of a path or shipped name with `KEY=VALUE` settings applied; InputError says what is wrong."""
    path = find(suite)
    try:
        document = Document(path.name if path.parent == SHIPPED else str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    for setting in settings:
        document.set(setting)
    try:
        checked = Suite.model_validate(document.data)
    except ValidationError as error:
        raise InputError(document.at(*complaint((), error, Suite))) from None
    for rule in RULES:
        for location, message in rule(checked):
            raise InputError(document.at(location, message))
    return checked
