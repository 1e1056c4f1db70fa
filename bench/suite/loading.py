"""From the name or the file of a suite to a checked suite; every mistake is named with its line. No torch."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ...methods.register import did_you_mean
from ...reports.published.scoreboard import SCOREBOARDS
from ..errors import InputError, Mistakes
from . import claimed
from .checks import RULES
from .document import Document, shortened
from .files import files_hold_networks_of_the_data, images_are_of_the_data
from .fits import Rule
from .mistakes import mistakes
from .pipelines import pipelines_can_be_read
from .schema import Suite

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "shipped"
WITH_FILES = (*RULES, files_hold_networks_of_the_data, images_are_of_the_data, pipelines_can_be_read)
"""Of a suite that is to run; others are only written or looked at."""
LARGEST = 200_000
"""Bytes of a suite file: one of a thousand methods has fewer."""


def named_file(name: str) -> Path | None:
    """The file of that name, None if there is none or no file can have the name."""
    try:
        return path if (path := Path(name)).is_file() else None
    except (OSError, ValueError):
        return None


def find(suite: str) -> Path:
    """The file that SUITE means: a path, or the name of a shipped suite."""
    if (path := named_file(suite)) is not None:
        return path
    shipped = shipped_names()
    if suite in shipped:
        return SHIPPED / f"{suite}.yaml"
    if (name := suite.removeprefix("papers/")) in SCOREBOARDS:
        raise InputError(f"{name} is a table of published numbers and no suite; `fewstep leaderboard {name}` prints it")
    near = did_you_mean(suite[:100], shipped)
    near = near if "did you mean" in near else "; `fewstep list suites` says which there are"
    raise InputError(f"no suite {shortened(repr(suite))}: not a file, nor a shipped suite{near}")


def shipped_names() -> list[str]:
    return sorted(str(path.relative_to(SHIPPED).with_suffix("")) for path in SHIPPED.rglob("*.yaml"))


def load(suite: str, settings: Sequence[str] = (), rules: Sequence[Rule] = WITH_FILES) -> Suite:
    """The suite of a path or shipped name with `KEY=VALUE` settings applied; InputError says what is against rules."""
    path = find(suite)
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: larger than a suite can be, which is {LARGEST // 1000} kB")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8; save the file in this encoding") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return checked(path.name if path.parent == SHIPPED else str(path), text, settings, rules)


def checked(name: str, text: str, settings: Sequence[str] = (), rules: Sequence[Rule] = RULES) -> Suite:
    """The suite that `text` is, called `name` in the message of Mistakes, an InputError: a line for each.

    Claims about what the settings took away are left out, with a warning.
    """
    document, given = Document(name, text), [setting.partition("=")[0] for setting in settings]
    for setting in settings:
        document.set(setting)
    apart = bool(given) and not any(key.startswith("claims") for key in given)
    suite, found = mistakes(document, [rule for rule in rules if not (apart and rule in claimed.RULES)])
    if found:
        raise Mistakes(found)
    assert suite is not None
    return _with_testable_claims(suite, name, text) if apart else suite


def _with_testable_claims(suite: Suite, name: str, text: str) -> Suite:
    untestable = claimed.untestable(suite)
    if untestable and (own := mistakes(Document(name, text), claimed.RULES)[1]):
        raise Mistakes(own)
    kept = [claim for k, claim in enumerate(suite.claims) if k not in untestable]
    if len(kept) < len(suite.claims):
        names = ", ".join(suite.claims[k].id for k in untestable)
        log.warning("what --set changes leaves %d of %d claims untested: %s", len(untestable), len(suite.claims), names)
    return suite.model_copy(update={"claims": kept})
