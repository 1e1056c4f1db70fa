"""What `fewstep show` says of a method, a data set, a teacher, a metric, a suite or an executor. No torch."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ...datasets.registry import DATASETS, DatasetSpec
from ...methods.assets import LPIPS_FILES
from ...methods.bibliography import Paper, entries
from ...methods.registry import METHODS, TEACHERS
from ...methods.specs.base import MethodSpec
from ..metrics.extractors import EXTRACTORS
from ..metrics.metric import CLASSIFIER, LAW, LPIPS, PIXELS, SCORER
from ..metrics.register import defined
from ..plan.cells import make_plan
from ..published_files import REGISTER
from ..suite.loading import find, load
from ..suite.pairs import pairs
from ..suite.schema import MethodEntry, Suite
from .catalogue import Entry
from .chosen import chosen
from .reachable import TRIED, progression, reachable


class Fact(NamedTuple):
    """key: stable, for programs. value: for programs. lines: paragraphs for people, who are shown no empty ones."""

    key: str
    lines: list[str]
    value: Any

    @property
    def label(self) -> str:
        return self.key.replace("_", " ").replace("nfe", "NFE")


Facts = Iterator[Fact]


def cited(keys: tuple[str, ...]) -> Facts:
    """The papers of these keys, keys alone where the bibliography lacks them, as for another package's."""
    if not keys:
        return
    known = entries()
    yield Fact("papers", [_reference(known[key]) if key in known else key for key in keys], list(keys))


def _reference(paper: Paper) -> str:
    """Song & Dhariwal 2024: Improved Techniques ..., arXiv:2310.14189 (song2023improved)."""
    families = [author.partition(",")[0] for author in paper.authors]
    *first, last = families
    who = f"{', '.join(first)} & {last}" if first else last
    if len(families) > 3:
        who = f"{families[0]} et al."
    arxiv = f", arXiv:{paper.arxiv}" if paper.arxiv else ""
    return f"{who} {paper.year}: {paper.title}{arxiv} ({paper.key})"


def _method(entry: Entry) -> Facts:
    spec = METHODS[entry.name]
    yield from _evaluations(spec)
    if spec.elsewhere:
        yield Fact("trains", [f"nothing: {spec.made}; its rows have no budget and no rank"], False)
        return
    if not spec.trains:
        yield Fact("trains", ["nothing: a training-free solver takes no budget"], False)
        return
    runs = "one run for each NFE, each with the whole budget" if spec.per_nfe else "one run serves all its NFEs"
    charged = "everything that its training evaluates is charged to the budget"
    yield Fact("trains", [f"a {entry.group.removesuffix('s')}: {charged}; {runs}"], True)
    networks = ", ".join(name for name, teacher in TEACHERS.items() if teacher.network)
    start = f"a network, whose weights it starts from: {networks}" if spec.needs_network else "any"
    labels = "may be class-conditional" if spec.conditional else "not class-conditional"
    yield Fact("teacher", [f"{start}; {labels}"], "network" if spec.needs_network else "any")
    yield from _chosen(spec)
    if spec.transfers:
        yield Fact("transfers", ["what it learns can be used on another data set: `fitted_on` in a suite"], True)


def _chosen(spec: MethodSpec) -> Facts:
    """Where defaults come from: the suite `defaults`, the paper, or us."""
    found = chosen(spec.name)
    values = " and ".join(f"{option} {value}" for option, value in found.items())
    rule = f"{values}: by the rule of the suite `defaults`, the same for every method, on mixture-8x8 alone"
    others = "the others: the paper's where the option says so, else ours"
    yield Fact("defaults", [rule, others], found)


def _evaluations(spec: MethodSpec) -> Facts:
    reached, refused = reachable(spec)
    lines = [f"{progression(reached) or 'none'} (of 1 to {TRIED}, with the default options)" if refused else "any"]
    if len(refused) > 2:
        # Reasons that name the NFE: the first stands for all.
        reason, (example, *_) = next(iter(refused.items()))
        lines.append(f"for example not {example}: {reason}")
    else:
        lines += [f"not {progression(refusals)}: {reason}" for reason, refusals in refused.items()]
    yield Fact("nfe", lines, reached)
    yield Fact("nfe_refused", [], refused)


def _dataset(entry: Entry) -> Facts:
    spec = DATASETS[entry.name]
    yield Fact("shape", [" x ".join(map(str, spec.shape))], list(spec.shape))
    yield Fact("size", [f"{spec.size:,} samples"], spec.size)
    yield Fact("classes", [str(spec.classes) if spec.classes else "none"], spec.classes)
    yield Fact("captions", [f"{spec.captions:,}, a frozen list"] if spec.captions else [], spec.captions)
    known = defined(spec.groups, spec.quality)
    yield Fact("metrics", [", ".join(known)], known)
    yield Fact("licence", [spec.licence] if spec.licence else [], spec.licence)
    yield from _archive(spec)


def _archive(spec: DatasetSpec) -> Facts:
    if not spec.archive:
        yield Fact("archive", ["none: embedded"], None)
        return
    path = str(spec.path())
    yield Fact("archive", [f"{path}, {'missing' if spec.missing() else 'here; `fewstep doctor` checks it'}"], path)
    source = spec.source
    if source is not None:
        yield Fact("preprocessing", [source.preprocessing], source.preprocessing)
        yield Fact("labels", [source.labels] if spec.classes else [], source.labels)
        yield Fact("statistics", [", ".join(source.statistics)] if source.statistics else [], list(source.statistics))
        command = f"fewstep prepare {spec.name} --from {source.form}"
        about = f"about {source.gigabytes:g} GB"
        yield Fact("get_it", [f"{source.page}: {source.steps}", f"`{command}`, {about}"], command)


def _teacher(entry: Entry) -> Facts:
    spec = TEACHERS[entry.name]
    yield Fact("trains", ["a network, once for the suite" if spec.trains else "nothing"], spec.trains)
    yield Fact("network", [] if spec.network else ["none: a formula, which no student can copy"], spec.network)


def _metric(entry: Entry) -> Facts:
    known = entry.facts
    yield Fact("direction", list(entry.notes[:1]), "higher" if known["higher_is_better"] else "lower")
    enough = known["samples"]
    yield Fact("samples", [f"{enough:,} or more" if enough else "any number"], enough)
    needs = _needs(known["features"]) + (["a caption for each image"] if known["captioned"] else [])
    yield Fact("taken_from", [entry.group], entry.group)
    yield Fact("needs", needs, needs)
    yield Fact("ready", [f"no: {known['missing']}" if known["missing"] else "yes"], known["ready"])
    having = [spec.name for spec in DATASETS.values() if entry.name in defined(spec.groups, spec.quality)]
    yield Fact("datasets", [", ".join(having) or "none in suites; `fewstep evaluate` takes it"], having)


def _needs(features: str) -> list[str]:
    """What a metric is computed with, a line each."""
    if features == CLASSIFIER:
        return ["a small classifier of the data set: shipped for digits, trained by the suite for other data"]
    if features == SCORER:
        return ["a small scorer of the data set's images and captions, which ships with fewstep"]
    if features == LAW:
        return []
    if features in (PIXELS, LPIPS):
        return ["the teacher's exact solutions, which a run computes", *(LPIPS_FILES if features == LPIPS else ())]
    files = EXTRACTORS[features].files if features in EXTRACTORS else ()
    return [f"{name} (licence: {REGISTER[name].licence})" for name in files]


def _suite(entry: Entry) -> Facts:
    suite = load(entry.name)
    path = str(find(entry.name))
    yield Fact("file", [path], path)
    datasets = list(dict.fromkeys(pair.dataset for pair in pairs(suite)))
    yield Fact("datasets", [", ".join(datasets)], datasets)
    teachers = list(dict.fromkeys(pair.teacher.shown() for pair in pairs(suite)))
    yield Fact("teachers", [", ".join(teachers)], teachers)
    problems = [f"{problem.dataset} with {problem.teacher.shown()}" for problem in suite.problems]
    yield Fact("problems", problems, problems)
    yield Fact("budgets", [", ".join(budget.label() for budget in suite.budgets)], [b.given() for b in suite.budgets])
    yield Fact("seeds", [progression(suite.seeds)], suite.seeds)
    yield Fact("nfe", [progression(suite.nfe)], suite.nfe)
    yield Fact("samples", [f"{suite.samples:,}"], suite.samples)
    yield Fact("metrics", [", ".join(suite.metrics)], suite.metrics)
    entries = [entry.model_dump(mode="json", exclude_none=True) for entry in suite.methods]
    yield Fact("methods", [_row(entry) for entry in suite.methods], entries)
    yield from _cells(suite, entry.name)


def _row(entry: MethodEntry) -> str:
    """A row of the grid as far as it differs from the suite: iia (NFE 5, 11)."""
    variant = entry.variant or " ".join(f"{key}={value}" for key, value in entry.options.items())
    said = [
        variant,
        f"NFE {', '.join(map(str, entry.nfe))}" if entry.nfe else "",
        ", ".join(budget.label() for budget in entry.budgets or ()),
        f"fitted on {entry.fitted_on.dataset}" if entry.fitted_on else "",
        entry.rules() if entry.tune else "",
    ]
    words = "; ".join(filter(None, said))
    return entry.name + (f" ({words})" if words else "")


def _cells(suite: Suite, name: str) -> Facts:
    plan = make_plan(suite)
    skipped = [cell for cell in plan.cells if cell.score is None]
    lines = [f"{len(plan.cells)}"]
    if skipped:
        lines[0] += f", of which {len(skipped)} cannot run here: `fewstep run {name} --dry-run` says why"
    yield Fact("cells", lines, len(plan.cells))
    yield Fact("cells_skipped", [], len(skipped))


def _executor(entry: Entry) -> Facts:
    yield Fact("use_it", [f"`fewstep run SUITE --executor {entry.name}`"], f"--executor {entry.name}")


FACTS: dict[str, Callable[[Entry], Facts]] = {
    "method": _method,
    "dataset": _dataset,
    "teacher": _teacher,
    "metric": _metric,
    "suite": _suite,
    "executor": _executor,
}
MODELS: dict[str, Mapping[str, Any]] = {"method": METHODS, "teacher": TEACHERS}
"""Where the options of a kind are found, by name."""
