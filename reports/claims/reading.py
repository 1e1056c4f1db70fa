"""The claims of run folders: those of each folder's suite."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from .. import run_folder
from ..errors import DamagedError
from ..run_folder import SUITE
from .model import Claim

CLAIMS: TypeAdapter[list[Claim]] = TypeAdapter(list[Claim])


def read(folders: Sequence[Path]) -> list[Claim]:
    """Every claim of the suites of these folders once. DamagedError for a file that is none; ValueError for two claims
    of one name.
    """
    found: dict[str, Claim] = {}
    for folder in folders:
        for claim in _of(folder):
            if found.setdefault(claim.id, claim) != claim:
                raise ValueError(f"two claims are called {claim.id}, and they differ; show the folders one by one")
    return list(found.values())


def boards(folders: Sequence[Path]) -> list[tuple[list[Path], list[Claim]]]:
    """The folders that are judged together, with their claims: those that state the same, and those that state none.

    Suites on other data sets state a sentence by tests of their own, on their own rows and metric. ValueError where
    one name stands for two sentences.
    """
    stated = [(folder, _of(folder)) for folder in folders]
    said: dict[str, str] = {}
    for claim in (claim for _, claims in stated for claim in claims):
        if said.setdefault(claim.id, claim.paper.says) != claim.paper.says:
            raise ValueError(f"two claims are called {claim.id}, and they say different things; rename one")
    found: list[tuple[list[Path], list[Claim]]] = []
    for _, claims in stated:
        if claims and all(claims != other for _, other in found):
            found.append(([folder for folder, own in stated if own in (claims, [])], claims))
    return found


def _of(folder: Path) -> list[Claim]:
    file = folder / SUITE
    if not file.is_file():
        return []
    try:
        suite = yaml.safe_load(file.read_text(encoding="utf-8"))
        return CLAIMS.validate_python(suite.get("claims", []))
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, ValidationError) as error:
        raise DamagedError(f"{file}: not the suite of a run: {' '.join(str(error).split())[:200]}") from None


def changed(folders: Sequence[Path]) -> list[str]:
    """A line for each folder whose claims are others than when its first results came."""
    said = []
    for folder in folders:
        claims = run_folder.facts(folder).get("claims", {})
        if claims and claims.get("sha256") != claims.get("first"):
            said.append(f"{folder.name}: the claims were changed after its first results")
    return said
