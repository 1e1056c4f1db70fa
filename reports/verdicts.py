"""Who is best at each NFE, in words."""

from collections.abc import Mapping, Sequence

from .entries import Board, Entry
from .run_folder import EntryKey

MOST = 5
"""So many that cannot be told apart are named."""


def verdicts(board: Board, metric: str, seconds: Mapping[EntryKey, float]) -> list[str]:
    """A line per data set, teacher and NFE, by the ranks of the board; ± is one standard error of the mean over the
    noises where the jackknife has it, otherwise the standard deviation over the seeds.

    seconds: of sampling one image.
    """
    found = []
    for problem in board.problems:
        entries = [e for e in board.shown[problem] if metric in e.statuses and not e.elsewhere]
        place = "" if len(board.problems) == 1 else f"{problem[0]}, teacher {problem[1]}, "
        for nfe in sorted({entry.nfe for entry in entries}):
            here = [entry for entry in entries if entry.nfe == nfe]
            head = f"{place}at {nfe} evaluation{'s' if nfe > 1 else ''}"
            found.append(f"{head}: {_verdict(board, here, metric, seconds)}")
    return found


def _verdict(board: Board, entries: Sequence[Entry], metric: str, seconds: Mapping[EntryKey, float]) -> str:
    scored = [entry for entry in entries if entry.values.get(metric)]
    if not scored:
        return f"no value of {metric}: {next(iter(e.statuses[metric] for e in entries))}"
    if len({entry.protocols.get(metric, "") for entry in scored}) > 1:
        return "measured by several protocols, which are not compared"
    sign = -1 if board.about(metric).higher_is_better else 1
    ordered = sorted(scored, key=lambda entry: sign * _mean(entry, metric))
    first, *others = [entry for entry in ordered if entry.ranks[metric] == 1]
    display = board.about(metric).display
    if others:
        return _tied(ordered, [first, *others], metric, display, seconds)
    words = f"{_name(first, ordered)}, {display} {_value(first, metric)}"
    if len(ordered) > 1:
        sure = "beyond doubt" if _tested(ordered[:2], metric) else "by one seed, which cannot tell how surely"
        words += f", ahead of {_name(ordered[1], ordered)} ({_value(ordered[1], metric)}) {sure}"
    else:
        words += ", the only one with a value"
    return words + _time(first, seconds)


def best(board: Board, metric: str, seconds: Mapping[EntryKey, float]) -> dict[int, Entry]:
    """NFE -> the entry of the first problem to use: rank 1, and of several that share it the fastest."""
    found: dict[int, Entry] = {}
    for nfe in sorted({entry.nfe for entry in board.entries}):
        first = [entry for entry in board.shown[board.problems[0]] if entry.nfe == nfe and entry.ranks.get(metric) == 1]
        if first:
            found[nfe] = _fastest(first, seconds) or first[0]
    return found


def _fastest(entries: Sequence[Entry], seconds: Mapping[EntryKey, float]) -> Entry | None:
    return min((e for e in entries if e.key in seconds), key=lambda entry: seconds[entry.key], default=None)


def _tied(
    ordered: Sequence[Entry], best: Sequence[Entry], metric: str, display: str, seconds: Mapping[EntryKey, float]
) -> str:
    named = [f"{_name(entry, ordered)} ({_value(entry, metric)})" for entry in best[:MOST]]
    more = [f"{len(best) - MOST} more"] if len(best) > MOST else []
    words = f"{_joined([*named, *more])} cannot be told apart in {display}"
    if (fastest := _fastest(best, seconds)) is None:
        return words
    return f"{words}; the fastest of them is {_name(fastest, ordered)}{_time(fastest, seconds).replace(';', ',')}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]])


def _name(entry: Entry, among: Sequence[Entry]) -> str:
    alike = [other for other in among if other.method == entry.method]
    return f"{entry.method} [{entry.variant}]" if len(alike) > 1 else entry.method


def _value(entry: Entry, metric: str) -> str:
    """Such as 5.07 ± 0.18."""
    mean = _mean(entry, metric)
    error, _ = entry.errors(metric)
    spread = entry.spread(metric)
    if error != error and spread is not None:
        error = spread.std
    digits = 3 if abs(mean) < 1 else 2 if abs(mean) < 100 else 1
    return f"{mean:.{digits}f}" + (f" ± {error:.{digits}f}" if error == error else "")


def _tested(entries: Sequence[Entry], metric: str) -> bool:
    """Whether a test between them had noises or seeds to go by."""
    seeds = set.intersection(*(set(entry.values[metric]) for entry in entries))
    return len(seeds) > 1 or all(metric in entry.without for entry in entries)


def _time(entry: Entry, seconds: Mapping[EntryKey, float]) -> str:
    if entry.key not in seconds:
        return ""
    taken = seconds[entry.key]
    return f"; {1000 * taken:.2g} ms per image" if taken < 0.1 else f"; {taken:.2g} s per image"


def _mean(entry: Entry, metric: str) -> float:
    found = entry.spread(metric)
    assert found is not None
    return found.mean
