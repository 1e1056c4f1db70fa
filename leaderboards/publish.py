"""Committed results: a run's files copied into leaderboards/, and the generated parts of the pages rendered from there.

    python leaderboards/publish.py runs/quickstart

copies that run, and renders every leaderboard.csv and every marked part; without a run it only renders. A part lies
between its mark and `<!-- end -->`:

    <!-- table SUITE -->          every table of a suite: all metrics, costs, trials
    <!-- table SUITE METRIC -->   the table of one metric; `costs` and `trials` name those tables
    <!-- claims SUITE -->         which claims of the suite hold, a line each
    <!-- claims SUITE sentences --> each sentence and its verdicts
    <!-- claims SUITE details --> each claim with its sentence, tests and numbers, and the command that repeats it
    <!-- order SUITE OTHER -->    whether two boards put the rows that both have in the same order
    <!-- made SUITE -->           what made the results: commit, versions, teachers, features
    <!-- published DATASET -->    what papers print, never ranked with measured numbers
    <!-- files -->                the files of a run folder
    <!-- columns FILE -->         the columns of one of them
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewstep.reports import agreement, leaderboard, run_folder
from fewstep.reports.claims import board as claimed
from fewstep.reports.claims import reading
from fewstep.reports.claims.judge import over
from fewstep.reports.drawing import write as write_figure
from fewstep.reports.figures import figure
from fewstep.reports.formats import write
from fewstep.reports.published import scoreboard
from fewstep.reports.rehearsal import is_marked
from fewstep.reports.tables import Table

ROOT = Path(__file__).parent.parent
FILES = (
    run_folder.RESULTS,
    run_folder.BLOCKS,
    run_folder.COSTS,
    run_folder.TRIALS,
    run_folder.LEADERBOARD,
    run_folder.METRICS,
    run_folder.METHODS,
    run_folder.PAPERS,
    run_folder.SUITE,
    run_folder.LEARNED,
    run_folder.CURVES,
    run_folder.PUBLISHED,
)
SAMPLES = "samples"
"""The figure that needs the pictures, which are kept for it only."""
MARK = re.compile(
    r"(<!-- (table|claims|order|made|published|files|columns)(?: ([^ >]+))?(?: ([\w-]+))? -->\n).*?<!-- end -->",
    re.DOTALL,
)
FIGURE = re.compile(r"\]\((?:([\w./-]+)/)?(\w+)\.svg\)")
"""A link to a figure: its folder, empty for that of the page, and its name."""


def pages(root: Path = ROOT) -> list[str]:
    """The pages that have generated parts: README.md, docs/results.md, and all below leaderboards/."""
    patterns = ("README.md", "docs/results.md", "leaderboards/*.md", "leaderboards/*/README.md")
    return [str(page.relative_to(root)) for pattern in patterns for page in sorted(root.glob(pattern))]


def render(page: str, leaderboards: Path = ROOT / "leaderboards") -> str:
    """The text with every marked part as the committed results have it.

    FileNotFoundError if a folder is missing, ValueError for a mark that names nothing.
    """

    def part(mark: re.Match[str]) -> str:
        opening, kind, name, which = mark.groups()
        return f"{opening}{_part(leaderboards, kind, name, which)}\n<!-- end -->"

    return MARK.sub(part, page)


def _part(leaderboards: Path, kind: str, name: str | None, which: str | None) -> str:
    if kind == "files":
        return described("file", run_folder.FILES)
    if name is None:
        raise ValueError(f"<!-- {kind} --> names no {'file' if kind == 'columns' else 'suite'}")
    if kind == "columns":
        return described("column", columns(name))
    if kind == "published":
        return write(published(name), "markdown")
    if kind == "made":
        return made(leaderboards / name)
    if kind == "order":
        if which is None:
            raise ValueError(f"<!-- order {name} --> names no second suite")
        return order(leaderboards / name, leaderboards / which)
    if kind == "claims":
        return claims(leaderboards / name, which)
    return tables(leaderboards / name, which)


def tables(folder: Path, which: str | None) -> str:
    """The tables of a run folder in Markdown: all, the costs, the trials, or those of one metric."""
    board = leaderboard.read(folder)
    apart = {"costs": board.costs, "decoding": board.decoding, "trials": board.trials}
    if which in apart:
        table = apart[which]
        if table is None:
            raise ValueError(f"{folder.name} has no {which}")
        return write(table, "markdown")
    return leaderboard.render(board, "markdown", which)


def claims(folder: Path, which: str | None) -> str:
    """What the results say of the suite's claims, in Markdown: a line each, as `sentences` with what is said instead
    of numbers, or as `details` each with all its numbers and the command that repeats it.
    """
    board, judged = over(reading.boards([folder]))
    if not judged:
        raise ValueError(f"{folder.name} states no claims")
    if which != "details":
        table = claimed.sentences if which == "sentences" else claimed.overview
        return write(table(board, judged), "markdown")
    parts = []
    for claim in dict.fromkeys(one.claim.id for one in judged):
        own = [one for one in judged if one.claim.id == claim]
        command = f"    fewstep claims leaderboards/{folder.name} --claim {claim}"
        parts += [write(claimed.details(board, own), "markdown"), command]
    return "\n\n".join(parts)


def order(first: Path, second: Path) -> str:
    """Whether two run folders put their rows in the same order, each by its Fréchet distance, in Markdown."""
    boards = leaderboard.read(first), leaderboard.read(second)
    names = agreement.metrics(boards)
    return write(agreement.table(agreement.agreements(boards, names), boards, names), "markdown")


def made(folder: Path) -> str:
    """One paragraph: commit and versions, teachers, and the features that the values were measured in."""
    facts = run_folder.facts(folder)
    where: dict[str, Any] = facts["environment"]
    commit = f"commit `{where['git_commit'][:8]}`" if where.get("git_commit") else "an unknown commit"
    threads = f"{where['threads']} thread{'s' * (where['threads'] != 1)} per worker"
    teachers = [
        f"{teacher['label'].removeprefix('teacher ')} ({teacher['parameters']:,} parameters)"
        for teacher in facts["teachers"]
    ]
    features = dict.fromkeys(
        f"`{part}`"
        for entry in leaderboard.read(folder).entries
        for protocol in entry.protocols.values()
        for part in protocol.split("/")[1:2]
        if "@" in part
    )
    lines = [
        f"Made at {commit} with fewstep {where['fewstep']}, torch {where['torch']} and Python {where['python']} on "
        f"{where['platform']} ({where['device']}, {threads}).",
        f"Teacher: {', '.join(teachers)}.",
        f"Features: {', '.join(features)}." if features else "",
    ]
    return " ".join(filter(None, lines))


def columns(file: str) -> dict[str, str]:
    """What the columns of a file of a run folder hold; those that name a row, in results.csv only."""
    if file not in run_folder.COLUMNS:
        raise ValueError(f"no columns are described for {file!r}")
    found = run_folder.COLUMNS[file]
    if file != run_folder.RESULTS:
        found = {name: text for name, text in found.items() if name not in run_folder.KEY_COLUMNS}
    return found


def described(what: str, texts: Mapping[str, str]) -> str:
    """A Markdown table of two columns: the name and what it holds."""
    rows = [f"| `{name}` | {text} |" for name, text in texts.items()]
    return "\n".join([f"| {what} | what it holds |", "|---|---|", *rows])


def published(dataset: str) -> Table:
    """The verified FIDs of students on one data set at one to four evaluations, each with where it was read."""
    found = [row for row in scoreboard.rows(dataset) if row.data_free and not row.recalled]
    return scoreboard.table(dataset, found)


def figures(suite: str, root: Path = ROOT) -> set[str]:
    """The names of a suite's figures that a page links to."""
    folder = root / "leaderboards" / suite
    found = set()
    for page in pages(root):
        file = root / page
        for where, name in FIGURE.findall(file.read_text(encoding="utf-8")):
            if (file.parent / where).resolve() == folder.resolve():
                found.add(name)
    return found


def copy(run: Path, root: Path = ROOT) -> None:
    """Results, provenance and the figures that a page links to, drawn anew, into leaderboards/<suite>."""
    facts = json.loads((run / run_folder.FACTS).read_text(encoding="utf-8"))
    if is_marked(facts["suite"]):
        raise ValueError(f"{run}: a rehearsal (--smoke), whose numbers mean nothing: run the suite without --smoke")
    facts.pop("stamp", None)
    for part in (facts, *facts.get("joined", [])):
        # Where a folder lay on one machine is nobody else's.
        part["argv"] = [Path(word).name if os.path.isabs(word) else word for word in part.get("argv", [])]
    target = root / "leaderboards" / facts["suite"]
    target.mkdir(exist_ok=True)
    for name in filter(lambda name: (run / name).is_file(), FILES):
        shutil.copyfile(run / name, target / name)
    (target / run_folder.FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    for name in sorted(figures(facts["suite"], root)):
        if name == SAMPLES:
            shutil.copyfile(run / run_folder.PICTURES, target / run_folder.PICTURES)
        draw(run, name, target / f"{name}.svg")


def draw(run: Path, name: str, file: Path) -> None:
    """The figure that a page links to as KIND.svg or KIND_METRIC.svg. ValueError if the run does not hold it."""
    kind, _, metric = name.partition("_")
    write_figure(figure([run], kind, metric=metric or None), file)


def main() -> None:
    try:
        for run in sys.argv[1:]:
            copy(Path(run))
        for results in sorted((ROOT / "leaderboards").glob(f"*/{run_folder.RESULTS}")):
            text = leaderboard.render(leaderboard.read(results.parent), "csv")
            (results.parent / run_folder.LEADERBOARD).write_text(text + "\n", encoding="utf-8")
        rendered = {name: render((ROOT / name).read_text(encoding="utf-8")) for name in pages()}
    except FileNotFoundError as error:
        sys.stderr.write(f"{error.filename} is missing: publish a finished run of that suite first\n")
        sys.exit(2)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    for name, text in rendered.items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
