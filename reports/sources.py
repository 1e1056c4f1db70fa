"""From which of several folders the values of a table are."""

from collections.abc import Sequence

from .entries import Entry


def notes(entries: Sequence[Entry], metric: str, labels: Sequence[str]) -> list[str]:
    """Note lines: which folder each row is from, whose seeds are from several, and which values a folder lacks.

    None where one folder was read. A row that several folders have alike is from the first of them.
    """
    if len(labels) < 2 or not entries:
        return []
    rows, pooled = _rows(entries, metric, labels)
    most = max(rows, key=lambda label: len(rows[label]))
    parts = []
    for label in labels:
        seeds = _counts(entries, metric, label)
        named = f": {', '.join(rows[label])}" if rows[label] and label != most else ""
        if seeds:
            parts.append(f"{label} ({seeds}{named})")
    return [f"rows from {', '.join(parts)}", *pooled, *_lacking(entries, metric)]


def _rows(entries: Sequence[Entry], metric: str, labels: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """(label -> the rows all of whose values it has, notes on the rows pooled from several folders)."""
    whole: dict[str, list[str]] = {label: [] for label in labels}
    pooled: list[str] = []
    for row in dict.fromkeys(entry.key.row for entry in entries):
        of_row = [entry for entry in entries if entry.key.row == row]
        name = " ".join(filter(None, row[:2]))
        complete = set.intersection(*(set(found) for entry in of_row for found in entry.sources[metric].values()))
        if complete:
            whole[min(complete, key=list(labels).index)].append(name)
        else:
            pooled += [f"{name}, {_pooled(entry, metric)}" for entry in of_row]
    return {label: list(dict.fromkeys(names)) for label, names in whole.items()}, list(dict.fromkeys(pooled))


def _pooled(entry: Entry, metric: str) -> str:
    """ "NFE 4: seeds 0, 1 from quickstart, 2 from mine"."""
    seeds: dict[str, list[str]] = {}
    for seed, found in entry.sources[metric].items():
        seeds.setdefault(" and ".join(found), []).append(str(seed))
    parts = [f"{', '.join(numbers)} from {label}" for label, numbers in seeds.items()]
    return f"NFE {entry.nfe}: seed{'s' if len(entry.sources[metric]) > 1 else ''} {', '.join(parts)}"


def _counts(entries: Sequence[Entry], metric: str, label: str) -> str:
    """ "2 seeds" that the folder has of its rows, or "2–3 seeds"; empty if it has none."""
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
