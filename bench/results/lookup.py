"""The artifacts behind a row of a finished run: what `fewstep sample` draws from and `fewstep export` copies."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

from ...methods import registry
from ...reports.run_folder import RESULTS
from ..errors import InputError
from ..plan.kinds import SampleParams
from ..store import Artifact, CorruptError, Store


@dataclass(frozen=True)
class Wanted:
    """A row of results.csv; without variant or budget the first that fits."""

    method: str
    nfe: int
    seed: int = 0
    variant: str | None = None
    budget: str | None = None

    def fits(self, row: dict[str, str]) -> bool:
        given = {"method": self.method, "variant": self.variant, "budget": self.budget}
        return all(value is None or row[key] == value for key, value in given.items())


def store_of(folder: Path, root: Path | None) -> Store:
    """The store that a results folder was made from: `root`, or where `fewstep run` puts it."""
    return Store(root or next((p for p in (folder / "store", folder.parent / "store") if p.is_dir()), folder / "store"))


def nearest_samples(folder: Path, wanted: Wanted, store: Store) -> Artifact:
    """The samples of the nearest cell (NFE first, then seed): their manifest names the teacher and the training."""
    with (folder / RESULTS).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = [row for row in table if wanted.fits(row) and row["status"] == "done"]
    if not rows:
        raise InputError(f"{folder}: no finished cell of {_described(wanted)}; the run has {_known(table, wanted)}")
    nearest = max(rows, key=lambda row: (row["nfe"] == str(wanted.nfe), row["seed"] == str(wanted.seed)))
    try:
        score = store.need(f"score-{nearest['cell']}")
        return store.need(score.manifest["inputs"]["sample"])
    except CorruptError as error:
        raise InputError(f"{error}; run the suite again, or name its store with --store") from None


def _described(wanted: Wanted) -> str:
    words = [f"method {wanted.method!r}"]
    words += [f"{key} {value!r}" for key in ("variant", "budget") if (value := getattr(wanted, key)) is not None]
    return " with ".join([words[0], " and ".join(words[1:])]) if words[1:] else words[0]


def _known(table: list[dict[str, str]], wanted: Wanted) -> str:
    """What the run has instead: other methods, or this one's variants and budgets."""
    own = [row for row in table if row["method"] == wanted.method]
    if not own:
        return ", ".join(dict.fromkeys(row["method"] for row in table))
    return "; ".join(dict.fromkeys(f"variant {row['variant']!r}, budget {row['budget']!r}" for row in own))


def export(folder: Path, wanted: Wanted, root: Path | None, out: Path) -> None:
    """Copy the trained weights of a row, a file that fewstep.methods.saved reads, to `out`."""
    store = store_of(folder, root)
    samples = nearest_samples(folder, wanted, store)
    params, inputs = samples.asked(SampleParams), samples.manifest["inputs"]
    if "train" not in inputs:
        raise InputError(f"{wanted.method} is not trained: there is nothing to export")
    if params.seed != wanted.seed:
        raise InputError(f"{_described(wanted)} has no finished cell with seed {wanted.seed}")
    try:
        trained = store.need(inputs["train"])
    except CorruptError as error:
        raise InputError(f"{error}; run the suite again, or name its store with --store") from None
    if registry.method(params.method).per_nfe and params.nfe != wanted.nfe:
        raise InputError(f"{_described(wanted)} is trained per NFE, and the run has no cell with NFE {wanted.nfe}")
    from ..stages.train import WEIGHTS

    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trained.file(WEIGHTS), out)
