"""What `fewstep export` writes: a student or a teacher of a run, as a safetensors file or a diffusers folder."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...datasets.registry import DATASETS
from ...methods import registry
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...reports import run_folder
from ...reports.writing import WriteError, aside
from ..errors import InputError
from ..plan.kinds import TEACHER, SampleParams, TeacherParams
from ..store import Artifact, Store
from .lookup import Wanted, described, nearest_samples, store_of

SAFETENSORS, DIFFUSERS = "safetensors", "diffusers"
FORMS = (SAFETENSORS, DIFFUSERS)


def student(folder: Path, wanted: Wanted, root: Path | None, out: Path, form: str) -> None:
    """Write what a row learned: a student as one that stands alone, a learned solver for its teacher."""
    store = store_of(folder, root)
    samples = nearest_samples(folder, wanted, store)
    params, inputs = samples.asked(SampleParams), samples.manifest["inputs"]
    if "train" not in inputs:
        raise InputError(f"{wanted.method} is not trained: there is nothing to export; --teacher exports its network")
    if params.seed != wanted.seed:
        raise InputError(f"{described(wanted)} has no finished cell with seed {wanted.seed}")
    spec = registry.method(params.method)
    if spec.per_nfe and params.nfe != wanted.nfe:
        raise InputError(f"{described(wanted)} is trained per NFE, and the run has no cell with NFE {wanted.nfe}")
    if form == DIFFUSERS and spec.kind != "student":
        raise InputError(
            f"{wanted.method} is a {spec.kind}: it has no network for a diffusers folder, which a student has"
        )
    from ..stages.train import WEIGHTS

    trained, parent = store.need(inputs["train"]), store.need(inputs["teacher"])
    weights = trained.file(WEIGHTS)
    if form == DIFFUSERS:
        return _write_folder(out, _student_of(trained, parent, params))
    if spec.kind != "student":
        with aside(out) as part:
            shutil.copyfile(weights, part)
        return
    from ...methods import exported

    network, ends = _network(parent)
    with aside(out) as part:
        exported.write(weights, network, ends, DATASETS[parent.asked(TeacherParams).dataset].shape, part)


def teacher(folder: Path, label: str, root: Path | None, out: Path, form: str) -> None:
    """Write the network of the teacher that tables call `label`; empty for the run's only one."""
    store = store_of(folder, root)
    parent = _teacher_of(folder, label, store)
    if form == DIFFUSERS:
        return _write_folder(out, _denoiser(parent))
    network, _ = _network(parent)
    with aside(out) as part:
        network.save(part)


def _teacher_of(folder: Path, label: str, store: Store) -> Artifact:
    table = run_folder.results(folder)
    done = table[(table["status"] == "done") & ~table["budget"].isin(run_folder.ELSEWHERE)]
    known = list(dict.fromkeys(done["teacher"]))
    if not known:
        raise InputError(f"{folder}: no finished cell, and no teacher to export")
    if label not in known and (label or len(known) > 1):
        raise InputError(f"--teacher {label!r}: the run has {', '.join(known)}")
    row = done[done["teacher"] == (label or known[0])].iloc[0]
    wanted = Wanted(row["method"], int(row["nfe"]), int(row["seed"]), row["variant"], row["budget"], row["teacher"])
    return store.need(nearest_samples(folder, wanted, store).manifest["inputs"]["teacher"])


def _network(parent: Artifact) -> tuple[Any, tuple[float, float]]:
    """(the checkpoint of a teacher's network, the noise levels between which it is asked)."""
    from safetensors.torch import load_file

    from ...methods.teachers import checkpoint
    from ...methods.teachers.forms import fewstep
    from ..stages import teacher as stage

    params = parent.asked(TeacherParams)
    given = params.teacher
    if given["name"] == "checkpoint":
        options = CheckpointOptions.model_validate(given)
        return checkpoint.read(parent.file(stage.WEIGHTS)), (options.sigma_min, options.sigma_max)
    if given["name"] not in ("pretrain", "shipped"):
        raise InputError(f"teacher {given['name']} is no network that fewstep stores: there is nothing to export")
    file, spec = parent.file(stage.WEIGHTS), DATASETS[params.dataset]
    made = stage.recipe(file, given)
    classes = spec.classes if made.label_dropout is not None else 0
    if classes and spec.prompted:
        message = "its captions are looked up in a table that an exported file does not hold"
        raise InputError(f"{params.dataset}'s teacher cannot be exported, nor its students: {message}")
    ends = (made.sigma_min, made.sigma_max)
    config = made.network.model_dump(mode="json")
    return fewstep.checkpoint(config, load_file(file), spec.shape, classes, made.sigma_data, ends), ends


def _denoiser(parent: Artifact, guidance: float | None = None) -> Any:
    from ..stages import teacher as stage

    if parent.asked(TeacherParams).teacher["name"] == "pipeline":
        raise InputError("networks that are told captions are not exported: their prompts are in a table apart")
    return stage.load({TEACHER: parent}, guidance)


def _student_of(trained: Artifact, parent: Artifact, params: SampleParams) -> Any:
    """The denoiser that a student is."""
    from ...methods.denoiser import Denoiser
    from ..stages import train

    method: Any = train.load(trained, _denoiser(parent, params.guidance), params.transfer)
    found = method.student_of(params.nfe) if hasattr(method, "student_of") else method.result()
    if not isinstance(found, Denoiser):
        raise InputError(f"{params.method} is no network alone: it fits no diffusers folder; export it as safetensors")
    return found


def _write_folder(out: Path, denoiser: Any) -> None:
    """A diffusers folder, whole or not at all."""
    from ...methods.teachers.forms import diffusers

    def write(folder: Path) -> None:
        try:
            diffusers.write(denoiser, folder)
        except ValueError as error:
            raise InputError(f"it fits no diffusers folder: {error}; export it as safetensors") from None

    _folder_aside(out, write)


def _folder_aside(out: Path, write: Callable[[Path], None]) -> None:
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".", suffix=".part") as part:
            write(Path(part) / "folder")
            os.rename(Path(part) / "folder", out)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(out)) from error
