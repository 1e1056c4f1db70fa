"""The claims of run folders: those of each folder's suite, judged on the rows of all."""

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
