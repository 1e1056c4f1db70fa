"""Committed results: a run's files copied into leaderboards/, and the tables of the READMEs rendered from there.

    python leaderboards/publish.py runs/quickstart

copies that run and renders every marked table; without a run it only renders. A table stands between
`<!-- table SUITE [METRIC] -->` and `<!-- end -->`; all metrics, costs and trials where none is named, the trials alone
for `trials`. What papers print, never ranked with our own numbers, stands after `<!-- published DATASET -->`.
"""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

from fewstep.reports import leaderboard, run_folder
from fewstep.reports.tables import Table, write

ROOT = Path(__file__).parent.parent
FILES = (
    run_folder.RESULTS,
    run_folder.BLOCKS,
    run_folder.COSTS,
    run_folder.TRIALS,
    run_folder.LEADERBOARD,
    run_folder.METRICS,
)
PAGES = ("README.md", "leaderboards/README.md")
PUBLISHED = re.compile(r"(<!-- published (\S+) -->\n).*?(\n?<!-- end -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- table (\S+)(?: (\S+))? -->\n).*?(\n?<!-- end -->)", re.DOTALL)


def render(page: str, leaderboards: Path = ROOT / "leaderboards") -> str:
    """The text with every marked table as its results are. FileNotFoundError where a folder is missing."""

    def table(mark: re.Match[str]) -> str:
        board = leaderboard.read(leaderboards / mark[2])
        if mark[3] == "trials" and board.trials is not None:
            return f"{mark[1]}{write(board.trials, 'markdown')}\n<!-- end -->"
        return f"{mark[1]}{leaderboard.render(board, 'markdown', mark[3])}\n<!-- end -->"

    def papers(mark: re.Match[str]) -> str:
        return f"{mark[1]}{write(published(leaderboards / 'published.csv', mark[2]), 'markdown')}\n<!-- end -->"

    return PUBLISHED.sub(papers, TABLE.sub(table, page))


def published(file: Path, dataset: str) -> Table:
    """The papers' FIDs on one data set by NFE, each with where it was read."""
    with file.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["dataset"] == dataset]
    nfes = sorted({int(row["nfe"]) for row in rows})
    methods: dict[tuple[str, ...], dict[int, str]] = {}
    for row in rows:
        source = f"{row['paper']}, {row['table']}" + ("*" if row["read_in"] == "digest" else "")
        methods.setdefault((row["name"], row["conditioning"], source), {})[int(row["nfe"])] = row["fid"]
    cells = [[*key, *(fids.get(nfe, "") for nfe in nfes)] for key, fids in methods.items()]
    notes = ["each paper's own teacher, training budget and FID code; * read in a digest or another paper"]
    return Table(
        f"FID on {dataset}, as published", ["method", "labels", "source", *(f"NFE {n}" for n in nfes)], cells, notes
    )


def copy(run: Path, root: Path = ROOT) -> None:
    """Results, provenance and those figures that a page links to, into leaderboards/<suite>."""
    facts = json.loads((run / run_folder.FACTS).read_text(encoding="utf-8"))
    facts.pop("stamp", None)
    target = root / "leaderboards" / facts["suite"]
    target.mkdir(exist_ok=True)
    for name in filter(lambda name: (run / name).is_file(), FILES):
        shutil.copyfile(run / name, target / name)
    (target / run_folder.FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    linked = set(re.findall(rf"{facts['suite']}/(\w+)\.svg", "".join((root / page).read_text() for page in PAGES)))
    for figure in sorted((run / run_folder.FIGURES).glob("*.svg")):
        for name in linked:
            if figure.stem == name or figure.stem.startswith(f"{name}_"):
                shutil.copyfile(figure, target / f"{name}.svg")


def main() -> None:
    try:
        for run in sys.argv[1:]:
            copy(Path(run))
        pages = {name: render((ROOT / name).read_text(encoding="utf-8")) for name in PAGES}
    except FileNotFoundError as error:
        sys.stderr.write(f"{error.filename} is missing: publish a finished run of that suite first\n")
        sys.exit(2)
    for name, text in pages.items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
