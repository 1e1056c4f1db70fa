"""`fewstep doctor`: what a suite needs from this machine. No torch."""

import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from ...datasets.expected import shortfall
from ...datasets.facts import ArchiveError, check
from ...datasets.frozen import path as frozen_path
from ...datasets.frozen.register import NETWORKS, FrozenNetwork, classifier
from ...datasets.own_images import OwnImages
from ...datasets.registry import DATASETS, DatasetSpec
from ...methods.specs.images import ImagesOptions
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.specs.teachers.pipeline import PipelineOptions
from .. import published_files
from ..metrics.metric import OWN
from ..metrics.register import METRICS
from ..plan import checkpoints, frozen, references
from ..plan.problem import problems
from ..suite import elsewhere
from ..suite.pairs import pairs, teachers
from ..suite.schema import MethodEntry, Suite, Teacher
from ..training.tracking import wandb_mode

PACKAGES = {
    "torch": "torch",
    "pytorch-lightning": "pytorch_lightning",
    "scikit-learn": "sklearn",
    "seaborn": "seaborn",
    "wandb": "wandb",
}
"""What pip calls a package, and what Python does."""


FAULTS = ("missing", "wrong hash", "wrong content", "cut short", "wrong count", "wrong preprocessing")
"""The states in which something cannot be used as it is named."""


def findings(suite: Suite | None) -> list[tuple[str, str, str]]:
    """(what, "present" or one of FAULTS or a setting, how to get it) for every need of the suite.

    Without a suite, of everything that some suite may need: what is not here is "absent" then.
    """
    found = [
        (f"package {name}", *(("present", "") if find_spec(module) else ("missing", f"pip install {name}")))
        for name, module in PACKAGES.items()
    ]
    found.append(("W&B", wandb_mode(), "set WANDB_MODE to change it"))
    if suite is None:
        found += _shipped(NETWORKS.values())
        return found + [
            (what, "absent" if state == "missing" else state, advice)
            for what, state, advice in [*_datasets(DATASETS), *_files(published_files.REGISTER)]
        ]
    found += _read(suite)
    found += [*_networks(suite), *_classifiers(suite)]
    for _, teacher in teachers(suite):
        if (missing := teacher.missing()) is not None:
            found.append((f"teacher {teacher.shown()}", "missing", missing.detail))
    found += _shipped(_frozen(suite))
    found += _metrics(suite)
    for entry in suite.methods:
        found += _made_elsewhere(entry)
        if (missing := entry.checked().missing()) is not None:
            found.append((f"method {entry.name} {entry.label()}", "missing", missing.detail))
    return found


def to_fetch(found: Iterable[tuple[str, str, str]]) -> str:
    """How many registered files are not as they should be, and their size together; empty if none."""
    names = {what.removeprefix("file ") for what, state, _ in found if state in FAULTS}
    files = [published_files.REGISTER[name] for name in sorted(names & published_files.REGISTER.keys())]
    if not files:
        return ""
    return f"to fetch: {len(files)} file{'s' * (len(files) > 1)}, {_megabytes(sum(file.megabytes for file in files))}"


def _read(suite: Suite) -> Iterator[tuple[str, str, str]]:
    """The data sets, of which only those whose images or labels some row reads must be here."""
    needed = {name for problem in problems(suite) for name in problem.images_read()}
    for name in dict.fromkeys(
        name for problem in problems(suite) for name in (problem.dataset, *problem.images_read())
    ):
        if name in needed or DATASETS[name].missing() is None:
            yield from _datasets([name])
        else:
            yield f"dataset {name}", "not needed", "no row of the suite reads its images"


def _metrics(suite: Suite) -> Iterator[tuple[str, str, str]]:
    """The files of the metrics, then those that cannot be had for another reason; each once."""
    found: dict[str, tuple[str, str, str]] = {}
    for problem in problems(suite):
        names = references.files(suite.metrics, problem.named)
        found |= {what: (what, state, advice) for what, state, advice in _files(names)}
    for problem in problems(suite):
        for metric, reason in problem.unmeasured.items():
            # A file that is not whole has its own line.
            if all(published_files.missing(name) is None for name in references.files([metric], problem.named)):
                found[f"metric {metric}"] = (f"metric {metric}", "missing", reason.detail)
    yield from found.values()


def _classifiers(suite: Suite) -> Iterator[tuple[str, str, str]]:
    """The files of what guides the teachers, each once."""
    given = (getattr(teacher, "classifier", None) for _, teacher in teachers(suite))
    for file in dict.fromkeys(guide.file for guide in given if guide is not None):
        name = checkpoints.meant(file) or ""
        path = published_files.located(name)
        if name in published_files.REGISTER:
            yield from _files([name])
        elif path is not None:
            yield f"file {path}", "present", _size(path)


def _networks(suite: Suite) -> Iterator[tuple[str, str, str]]:
    """Those of teachers, and of what a learned solver is fitted on. Each file's header is opened, and compared with the
    data sets.
    """
    files: dict[str, list[tuple[CheckpointOptions, str]]] = {}
    for teacher, dataset in _used(suite):
        if isinstance(teacher, CheckpointOptions):
            files.setdefault(teacher.file, []).append((teacher, dataset))
    for (teacher, dataset), *others in files.values():
        known = published_files.REGISTER.get(checkpoints.meant(teacher.file) or "")
        if known is not None:
            yield from _files([known.name])
        path = checkpoints.located(teacher)
        if path is None or (known is not None and published_files.missing(known)):
            continue
        fault = _fault(path, teacher, [dataset, *(name for _, name in others)])
        if fault is not None:
            yield f"file {path}", "wrong content", fault
        elif known is None:
            yield f"file {path}", "present", _size(path)


def _used(suite: Suite) -> Iterator[tuple[Teacher | None, str]]:
    """Each teacher, and each network that a learned solver is fitted on elsewhere, with its data set."""
    for pair in pairs(suite):
        yield pair.teacher, pair.dataset
    for entry in suite.methods:
        if entry.fitted_on is not None:
            yield entry.fitted_on.teacher, entry.fitted_on.dataset


def _fault(path: Path, teacher: CheckpointOptions, names: list[str]) -> str | None:
    specs = [DATASETS[name] for name in names]
    faults = (checkpoints.fault(path, spec.shape, teacher, classes=spec.classes) for spec in specs)
    return next((reason for reason in faults if reason), None)


def _made_elsewhere(entry: MethodEntry) -> Iterator[tuple[str, str, str]]:
    """What a row is read from that nothing here has trained."""
    if not entry.spec.alone:
        return
    options = entry.checked()
    if isinstance(options, ImagesOptions):
        path = Path(options.source)
        state = ("present", str(path)) if os.path.exists(path) else ("missing", "no such file or folder")
        yield f"images {path}", *state
        return
    network = elsewhere.network_of(options)
    if isinstance(network, PipelineOptions):
        missing = network.missing()
        yield f"pipeline {network.folder}", *(("missing", str(missing)) if missing else ("present", network.folder))
        return
    name = network.file
    file = checkpoints.meant(name)
    if file in published_files.REGISTER:
        yield from _files([file])
    else:
        yield f"network {name}", *(("present", file) if file else ("missing", "no such file, nor a known network"))


def _files(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    for name in names:
        known = published_files.REGISTER[name]
        missing, path = published_files.missing(name), published_files.find(name)
        size = f"about {_megabytes(known.megabytes)}" if path is None else _size(path)
        facts = f"{size}; licence: {known.licence}; for {', '.join(known.needed_by)}"
        if missing is None:
            yield f"file {name}", "present", f"{path}; {facts}"
        else:
            advice = missing.detail if missing.fault else f"by `{missing.command}`"
            yield f"file {name}", missing.fault or "missing", f"{advice}; {facts}"


def _frozen(suite: Suite) -> list[FrozenNetwork]:
    """The shipped networks that the suite reads, each once."""
    found = [frozen.teacher(options) for _, options in teachers(suite)]
    scored = any(METRICS[name].features in OWN for name in suite.metrics)
    selected = any(entry.tune is not None or entry.checked().needs_quality for entry in suite.methods)
    if suite.classifier == "shipped" and (scored or selected):
        found += [classifier(pair.dataset) for pair in pairs(suite)]
    return list(dict.fromkeys(network for network in found if network is not None))


def _shipped(networks: Iterable[FrozenNetwork]) -> Iterator[tuple[str, str, str]]:
    for network in networks:
        path, reason = frozen_path(network.name), frozen.fault(network)
        what = f"shipped {network.role} {network.name}"
        if reason is None:
            yield what, "present", f"{path}; {_size(path)}; SHA-256 {network.sha256[:8]}"
        else:
            yield what, reason.fault or "missing", reason.detail


def _size(path: Path) -> str:
    return _megabytes(path.stat().st_size / 1e6)


def _megabytes(count: float) -> str:
    """As a person says it: 0.01 MB, 96 MB, 5.47 GB."""
    return f"{count / 1000:.3g} GB" if count >= 1000 else f"{count:.3g} MB"


def _datasets(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    return ((f"dataset {name}", *_dataset(DATASETS[name])) for name in names)


def _dataset(spec: DatasetSpec) -> tuple[str, str]:
    """(state, advice) of a data set. Of its archive the directory is read, not the images."""
    if not spec.archive:
        return "present", "embedded"
    path = spec.path()
    if isinstance(spec, OwnImages):
        return "present", f"{path}; {spec.size:,} images of {'x'.join(map(str, spec.shape[1:]))}"
    if spec.missing() is not None:
        return "missing", f"{path}; {spec.how_to_get()}"
    try:
        facts = check(path)
    except (ArchiveError, OSError) as error:
        return "wrong hash", str(error)
    expected = spec.source.preprocessing if spec.source else "none"
    if (found := facts.get("preprocessing", "none")) != expected:
        return "wrong preprocessing", f"{path} was made by {found}, {spec.name} is made by {expected}"
    if lacking := shortfall(spec, facts):
        return "wrong count", f"{path} has {lacking}"
    return "present", f"{path}; {_size(path)}; licence: {spec.licence}{spec.known_statistics()}"
