"""What scores are measured against: feature networks, the data set's own features, published statistics. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...datasets.frozen import register
from ...datasets.own_images import OwnImages
from ...datasets.registry import DATASETS, ArchiveError
from ...methods.assets import missing_lpips
from ...methods.missing import Missing
from .. import published_files
from ..errors import InputError
from ..metrics.extractors import EXTRACTORS
from ..metrics.extractors.statistics import holds_images, moments_of
from ..metrics.metric import LPIPS, OWN
from ..metrics.register import METRICS
from . import frozen
from .kinds import ExtractorParams, ReferenceParams
from .task import Task


def data_code(dataset: str) -> tuple[str, ...]:
    """The modules that a data set is read by."""
    return (DATASETS[dataset].module,)


def identity(dataset: str) -> dict[str, str]:
    """What tells the data from others of the same name. InputError where the archive is none."""
    try:
        return DATASETS[dataset].identity()
    except ArchiveError as error:
        raise InputError(str(error)) from None


def extractor_task(dataset: str, device: str, classifier: str = "shipped") -> Task:
    """The data set's classifier and its features of the data.

    classifier: "trained", or "shipped" for the one that fewstep ships, if it ships one. That is read on the CPU,
    wherever the suite runs. InputError if its file was changed.
    """
    shipped = register.classifier(dataset) if classifier == "shipped" else None
    code = (*data_code(dataset), DATASETS[dataset].classifier.partition(":")[0])
    if shipped is not None:
        params = ExtractorParams(dataset=dataset, device="cpu", **identity(dataset), **frozen.identity(shipped))
        return Task(params, {}, code, 2_000, f"features of {dataset}")
    params = ExtractorParams(dataset=dataset, device=device, **identity(dataset))
    return Task(params, {}, code, 60_000, f"features of {dataset}")


def reference_task(dataset: str, extractor: str, device: str) -> Task:
    """The features of the data set's own images under published weights."""
    spec = DATASETS[dataset]
    if isinstance(spec, OwnImages):
        return folder_task(spec.path(), identity(dataset)["content"], spec.size, extractor, device)
    images = {"dataset": dataset, **identity(dataset)}
    return _features(images, dataset, DATASETS[dataset].size, extractor, device, data_code(dataset))


def folder_task(folder: Path, content: str, count: int, extractor: str, device: str) -> Task:
    """The same of images in a folder, zip, tar or npz; `content` is their hash."""
    images = {"images": str(folder.absolute()), "content": content}
    return _features(images, folder.name, count, extractor, device, ())


def _features(
    images: dict[str, str], name: str, count: int, extractor: str, device: str, code: tuple[str, ...]
) -> Task:
    weights = EXTRACTORS[extractor].protocol()
    params = ReferenceParams(**images, extractor=extractor, weights=weights, device=device)
    return Task(params, {}, code, 20.0 * count, f"{extractor} features of {name}")


def statistics(name: str) -> str | None:
    """The registered name or the path of the published statistics that `name` means; None if there is neither."""
    return published_files.meant(name, published_files.STATISTICS_FOLDER)


def known_statistics() -> list[str]:
    """The names of published statistics that the register knows."""
    return published_files.known_names(published_files.STATISTICS_FOLDER)


def rows_task(file: str, extractor: str, device: str) -> Task | None:
    """The features of the images in a file of reference statistics (ADM's VIRTUAL_*.npz hold 10,000); None if the file
    is not here. InputError where it holds none.
    """
    path = published_files.located(file)
    if path is None or not path.is_file():
        return None
    if not holds_images(path):
        raise InputError(f"{path}: no images `arr_0` in it, which precision, recall and KID are measured against")
    images = {"images": file, "content": published_files.sha256(path)}
    return _features(images, path.stem, 10_000, extractor, device, ())


def named_rows(metrics: Iterable[str], references: Mapping[str, str]) -> str | None:
    """The file whose images these metrics, of one extractor, are compared with; None for the data set's own."""
    names = (references[name] for name in metrics if METRICS[name].against == "rows" and name in references)
    return next(filter(None, map(statistics, names)), None)


def published(references: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Metric -> file and hash of the moments that are here. InputError where a file holds something else."""
    found = {}
    for metric, name in references.items():
        if METRICS[metric].against == "rows":
            continue
        file = statistics(name) or ""
        path = published_files.located(file)
        if file and path is not None and path.is_file():
            try:
                moments_of(path, METRICS[metric].array)
            except (ValueError, OSError) as error:
                raise InputError(f"reference of {metric}: {error}") from None
            found[metric] = {"file": file, "sha256": published_files.sha256(path)}
    return found


def lacking(metrics: Iterable[str], references: Mapping[str, str]) -> dict[str, Missing]:
    """The metrics that this machine lacks something for: what it is, and how to get it."""
    return {name: reason for name in metrics if (reason := _lacks(name, references)) is not None}


def _lacks(metric: str, references: Mapping[str, str]) -> Missing | None:
    features = METRICS[metric].features
    if features == LPIPS:
        return missing_lpips()
    if features in EXTRACTORS and (reason := EXTRACTORS[features].missing()) is not None:
        return reason
    file = statistics(references[metric]) if metric in references else None
    return published_files.missing(file) if file in published_files.REGISTER else None


def files(metrics: Iterable[str], references: Mapping[str, str]) -> list[str]:
    """The registered files that these metrics need, each once."""
    needed: list[str] = []
    for metric in metrics:
        features = METRICS[metric].features
        needed += EXTRACTORS[features].files if features in EXTRACTORS else ()
        if (file := statistics(references.get(metric, ""))) in published_files.REGISTER:
            needed.append(file)
    return list(dict.fromkeys(needed))


def reads_data(metrics: Sequence[str], references: Mapping[str, str]) -> bool:
    """Whether some of these metrics look at the data set's own images or captions."""
    return needs_own(metrics, references) or any(METRICS[name].captioned for name in metrics)


def needs_own(metrics: Iterable[str], references: Mapping[str, str]) -> bool:
    """Whether some of these metrics compare with the data set's own images."""
    return any(
        METRICS[name].features in OWN or (METRICS[name].against in ("rows", "moments") and name not in references)
        for name in metrics
    )
