"""The defaults that the suite `defaults` has chosen, as leaderboards/defaults.py wrote them down."""

import csv
from functools import cache
from importlib import resources


def chosen(method: str) -> dict[str, str]:
    """Option -> value, empty for a method without a grid."""
    return {row["option"]: row["value"] for row in _rows() if row["method"] == method}


@cache
def _rows() -> list[dict[str, str]]:
    file = resources.files("fewstep.leaderboards") / "chosen.csv"
    if not file.is_file():
        return []
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
