"""From which of several folders the values of a table are."""

from collections import Counter
from collections.abc import Mapping, Sequence

from .entries import Entry
from .run_folder import ELSEWHERE


def notes(entries: Sequence[Entry], metric: str, labels: Sequence[str]) -> list[str]:
    """Note lines: which folder each row is from, whose seeds are from several, and which values a folder lacks.

    None where one folder was read. A row that several folders have alike is from the first of them.
    """
    if len(labels) < 2 or not entries:
        return []
    owners = {row: _owner(of_row, metric, labels) for row, of_row in _by_row(entries).items()}
    owned = Counter(owners.values())
    most = max(labels, key=lambda label: owned[label])
    parts = []
    for label in labels:
        seeds = _counts(entries, metric, label)
        named = "" if entries[0].key.run or label == most else _names(owners, label)
        if seeds:
            parts.append(f"{label} ({seeds}{named})")
    pooled = [f"{_name(e.key.row)}, {_pooled(e, metric)}" for e in entries if owners[e.key.row] is None]
    return [f"rows from {', '.join(parts)}", *pooled, *_lacking(entries, metric)]


def _by_row(entries: Sequence[Entry]) -> dict[tuple[str, ...], list[Entry]]:
    rows: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.key.row, []).append(entry)
    return rows


def _owner(of_row: Sequence[Entry], metric: str, labels: Sequence[str]) -> str | None:
    """The first folder that has all values of a row, if there is one."""
    having = [set(found) for entry in of_row for found in entry.sources[metric].values()]
    return next((label for label in labels if all(label in found for found in having)), None)


def _names(owners: Mapping[tuple[str, ...], str | None], label: str) -> str:
    """The rows of a folder, such as: consistency, sim [l2]; by the method alone where all its rows are there."""
    elsewhere = {row[0] for row, owner in owners.items() if owner != label}
    own = [row for row, owner in owners.items() if owner == label]
    names = dict.fromkeys(_name(row) if row[0] in elsewhere else row[0] for row in own)
    return f": {', '.join(names)}" if names else ""


def _name(row: tuple[str, ...]) -> str:
    method, variant, budget = row[:3]
    return " ".join(
        [method, *([f"[{variant}]"] if variant else []), *([f"({budget})"] if budget not in ("0", *ELSEWHERE) else [])]
    )


def _pooled(entry: Entry, metric: str) -> str:
    """Such as: NFE 4: seeds 0, 1 from quickstart, 2 from mine."""
    seeds: dict[str, list[str]] = {}
    for seed, found in entry.sources[metric].items():
        seeds.setdefault(" and ".join(found), []).append(str(seed))
    parts = [f"{', '.join(numbers)} from {label}" for label, numbers in seeds.items()]
    return f"NFE {entry.nfe}: seed{'s' if len(entry.sources[metric]) > 1 else ''} {', '.join(parts)}"


def _counts(entries: Sequence[Entry], metric: str, label: str) -> str:
    """The number of seeds that a folder has of its rows, such as: 2–3 seeds. Empty if it has none."""
    found = {sum(label in having for having in entry.sources[metric].values()) for entry in entries} - {0}
    if not found:
        return ""
    span = "–".join(str(number) for number in dict.fromkeys((min(found), max(found))))
    return f"{span} seed{'s' if max(found) > 1 else ''}"


def _lacking(entries: Sequence[Entry], metric: str) -> list[str]:
    lacking: dict[str, list[str]] = {}
    for entry in entries:
        for label, seed, status in entry.lacked.get(metric, []):
            lacking.setdefault(label, []).append(f"{entry.method} NFE {entry.nfe} seed {seed} ({status})")
    return [
        f"{label} has no value of {found[0]}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
        for label, found in lacking.items()
    ]
