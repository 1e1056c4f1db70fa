"""A checked suite as a file that reads as the same suite. No torch."""

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from .reading import PREFIX, parsed, pattern_of
from .schema import Suite

NOT_EMPTY = ("datasets", "teachers", "problems", "budgets")
"""Keys that a suite may be without, and not give empty."""
MARK = "# Written by `fewstep run`: the suite as it was run, with what --set changed."


def dump(suite: Suite) -> str:
    """YAML that `loading.load` reads as `suite`: what was given, and the suite's own keys with their defaults."""
    given, whole = (suite.model_dump(mode="json", exclude_unset=unset) for unset in (True, False))
    data = {name: given.get(name, whole[name]) for name in whole if name in given or name not in NOT_EMPTY}
    text = _yaml(data, allow_unicode=True)
    # PyYAML writes some line separators as they are and reads them as spaces.
    return f"{MARK}\n{text if parsed(text)[0] == data else _yaml(data, allow_unicode=False)}"


def _yaml(data: dict[str, Any], allow_unicode: bool) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, width=110)
    return text


def require_replaceable(file: Path, source: Path, settings: tuple[str, ...]) -> None:
    """InputError if writing the suite of a run as `file` would destroy what somebody wrote there.

    source: the file that the run reads. The two may be one, as long as no setting changes what it says.
    """
    if not file.is_file() or _is_written(file) or (file.samefile(source) and not settings):
        return
    why = "--set would change it" if file.samefile(source) else "it is no suite that `fewstep run` wrote"
    raise InputError(f"{file}: the results would replace this file, and {why}; choose another folder with --out")


def _is_written(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline().rstrip("\n") == MARK


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1, or YAML as suites are read, takes for something else."""

    yaml_implicit_resolvers = {key: list(found) for key, found in yaml.SafeDumper.yaml_implicit_resolvers.items()}

    def ignore_aliases(self, data: Any) -> bool:
        return True


for kind, pattern, first in pattern_of():
    _Dumper.add_implicit_resolver(f"{PREFIX}{kind}", re.compile(pattern), first)
