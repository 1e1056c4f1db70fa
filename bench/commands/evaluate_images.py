"""`fewstep evaluate`: the metrics of images that were made anywhere, as rows that can stand in a leaderboard."""

import re
from collections.abc import Callable
from typing import Any

import click

from ...datasets.base import to_unit_range
from ...datasets.captions import captions
from ...datasets.images import Images
from ...datasets.registry import DATASETS, ArchiveError
from ..errors import InputError, printable
from ..metrics import scoring
from ..metrics.measured import Measured
from ..metrics.metric import CLASSIFIER, OWN, SCORER
from ..metrics.register import METRICS
from ..plan.references import extractor_task, folder_task, lacking, needs_own, published, reference_task
from ..plan.task import Task, hashed
from ..results import rows as results
from ..run.runner import Outcome
from ..stages import score
from ..store import Artifact
from .evaluate_request import Request, source_name

LOOKED_AT = 64
"""Images that are held in memory to see whether they can be read."""

Run = Callable[[list[Task]], Outcome]


def look(request: Request) -> tuple[dict[str, Any], Images]:
    """(what the results will be made of, as run.json holds it; the images). InputError for images that cannot be read.

    Every image is decoded once, so that a broken one is found before anything is computed or written.
    """
    try:
        images = Images(request.images)
        asked = {**request.facts(), "content": images.content()}
        real = Images(request.folder) if request.folder else None
        for source in filter(None, (images, real)):
            for first in range(0, len(source), LOOKED_AT):
                source[slice(first, first + LOOKED_AT)]
        return {**asked, "real": real.content() if real else None}, images
    except ArchiveError as error:
        raise InputError(str(error)) from None


def evaluate(
    request: Request, run: Run, images: Images | None = None, on_progress: Callable[[float], None] = lambda share: None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of results.csv, rows of blocks.csv). `run` makes what the images are compared with, or finds it.

    images: those of the request, if they have been opened. InputError for images that cannot be read.
    """
    metrics = request.wanted()
    lacks = lacking(metrics, request.references)
    measured = [name for name in metrics if name not in lacks]
    try:
        images = Images(request.images)
        _note(images)
        texts = _captions(request, images, measured)
        _check_shape(images.shape, request, measured)
        values = _values(request, images, texts, measured, run, on_progress)
    except ArchiveError as error:
        raise InputError(str(error)) from None
    cell = hashed([str(request.row), request.dataset, {name: repr(value.value) for name, value in values.items()}])
    shared = dict.fromkeys(results.COLUMNS, "") | {
        "suite": "evaluated",
        "dataset": source_name(request.folder) if request.folder else request.dataset,
        **request.row,
        "cell": cell,
    }
    rows, blocks = [], []
    for name in metrics:
        found = values.get(name, Measured())
        status = results.metric_status(lacks.get(name), found)
        rows.append({**shared, "metric": name, "status": str(status), **results.value_columns(found)})
        if found.without is not None:
            blocks.append(results.block_row(cell, name, found.without))
    return rows, blocks


def _note(images: Images) -> None:
    """Say what of a source is not read."""
    if images.unread:
        click.echo(f"fewstep: {printable(images.unread)}", err=True)


def _captions(request: Request, images: Images, metrics: list[str]) -> list[str]:
    """A caption for each image: the file's lines or, where a metric wants some, those of the data set."""
    if request.captions is None and not any(METRICS[name].captioned for name in metrics):
        return []
    if images.names != (counted := sorted(images.names, key=_counted)):
        first = next(i for i, (name, other) in enumerate(zip(images.names, counted, strict=True)) if name != other)
        message = f"by name {images.names[first]} comes before {counted[first]}, and captions belong to images in order"
        raise InputError(f"{request.images}: {message}; write the numbers with as many digits")
    if request.captions is None:
        return captions(request.dataset, range(len(images)))
    try:
        lines = request.captions.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{request.captions}: cannot be read: {error}") from None
    if len(lines) != len(images):
        raise InputError(f"{request.captions}: {len(lines)} lines for {len(images)} images; each image has its own")
    _check_captions(lines, request, metrics)
    return lines


def _check_captions(lines: list[str], request: Request, metrics: list[str]) -> None:
    """A data set's own scorer reads the data set's captions alone."""
    scored = [name for name in metrics if METRICS[name].features == SCORER and METRICS[name].captioned]
    known = set(captions(request.dataset)) if scored else set(lines)
    if unknown := next((i for i, line in enumerate(lines, 1) if line not in known), None):
        message = f"line {unknown} is no caption of {request.dataset}, and {', '.join(scored)} need one"
        raise InputError(f"{request.captions}: {message}; see `fewstep captions {request.dataset}`")


def _counted(name: str) -> list[str | int]:
    """Orders names as a person counts: 2.png before 10.png."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def _check_shape(shape: tuple[int, ...], request: Request, metrics: list[str]) -> None:
    """A data set's own network takes images of the data set's shape alone."""
    own = [name for name in metrics if METRICS[name].features in OWN]
    if own and shape != (expected := DATASETS[request.dataset].shape):
        message = f"images of shape {shape}, and {', '.join(own)} need {expected}; choose others with --metrics"
        raise InputError(f"{request.images}: {message}")


def _values(
    request: Request,
    images: Images,
    texts: list[str],
    metrics: list[str],
    run: Run,
    on_progress: Callable[[float], None],
) -> dict[str, Measured]:
    from ..stages.device import accelerator

    device = accelerator(request.device)
    x8 = scoring.Images8(images.__getitem__, len(images), request.rounding)
    values: dict[str, Measured] = {}
    plain = [name for name in metrics if METRICS[name].group != "captions"]
    files = {metric: given["file"] for metric, given in published(request.references).items()}
    made = _made(request, plain, run)
    for features in dict.fromkeys(METRICS[name].features for name in plain):
        group = [name for name in plain if METRICS[name].features == features]
        if features in OWN:
            x0 = to_unit_range(images[slice(0, len(images))])
            own, rounding = made[features], request.rounding
            if features == CLASSIFIER:
                values |= score.of_classifier(x0, own, group, rounding)
            else:
                values |= score.of_scorer(x0, texts, own, group, rounding)
        else:
            reader = scoring.FeatureReader(features, scoring.arrays_of(group), x8.count, device)
            scoring.stream(x8, [reader], on_progress)
            values |= score.of_published(features, reader.features, group, made.get(features), files, request.rounding)
    for name in metrics:
        if name not in plain:
            scores = scoring.CaptionReader(METRICS[name].features, texts, device)
            scoring.stream(x8, [scores], on_progress)
            values[name] = scores.measured(name, request.rounding)
    return values


def _made(request: Request, metrics: list[str], run: Run) -> dict[str, Artifact]:
    """What the images are compared with, by features."""
    tasks: dict[str, Task] = {}
    real: Images | None = None
    for features in dict.fromkeys(METRICS[name].features for name in metrics):
        group = [name for name in metrics if METRICS[name].features == features]
        if features in OWN:
            tasks[features] = extractor_task(request.dataset, request.device)
        elif needs_own(group, request.references):
            if request.folder is None:
                tasks[features] = reference_task(request.dataset, features, request.device)
                continue
            if real is None:
                real = Images(request.folder)
                _note(real)
            tasks[features] = folder_task(request.folder, real.content(), len(real), features, request.device)
    outcome = run(list(tasks.values()))
    for task in tasks.values():
        if task.name not in outcome.artifacts:
            failed = outcome.failures.get(task.name)
            raise InputError(f"{task.label}: {failed.reason if failed else 'could not be made'}")
    return {features: outcome.artifacts[task.name] for features, task in tasks.items()}
