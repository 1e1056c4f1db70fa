"""The teacher: trained once and kept, shipped, somebody else's, or a closed form."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ...datasets import frozen
from ...datasets.registry import DATASETS
from ...methods import exported
from ...methods.classifier_guidance import ClassifierGuided, NoisyClassifier
from ...methods.denoiser import Denoiser, EDMDenoiser, Guided
from ...methods.prompts import PromptTable
from ...methods.randomness import noise
from ...methods.registry import TEACHERS
from ...methods.saved_header import method_facts
from ...methods.specs.teachers.checkpoint import CheckpointOptions, ClassifierOptions
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.specs.teachers.pretrain import PretrainOptions
from ...methods.teachers import checkpoint, module_checks, pretrain
from ...methods.teachers.pipelines import pipeline
from .. import published_files
from ..errors import TaskError
from ..plan import checkpoints
from ..plan.kinds import PROMPTS, TEACHER, TeacherParams, TeacherResult, TeacherTraining
from ..store import Artifact
from ..training.ledger import Ledger, forward_flops
from ..training.loop import fit
from ..training.tracking import tracked
from . import preview, prompts
from .context import Context
from .data import outline
from .device import accelerator

WEIGHTS, TABLE = "teacher.safetensors", "prompts.safetensors"
CLASSIFIER = "classifier.safetensors"


def run(task: Context[TeacherParams]) -> TeacherResult:
    data = outline(task.params.dataset, task.params.content)
    makers = {"checkpoint": _copied, "shipped": _shipped, "pretrain": _trained, "pipeline": _left_in_place}
    return makers.get(task.params.teacher["name"], _described)(task, data)


def _result(denoiser: Denoiser, data: Any, training: TeacherTraining | None = None) -> TeacherResult:
    """What a plan needs to know of a teacher, measured on its network."""
    needs_label = any(getattr(module, "needs_label", False) for module in denoiser.modules())
    labels = torch.zeros(2, dtype=torch.int64) if needs_label else None
    unit = forward_flops(denoiser, noise(0, "probe", range(2), data.shape), labels)
    parameters = sum(p.numel() for p in denoiser.parameters())
    return TeacherResult(flops_per_evaluation=unit, parameters=parameters, ledger=training)


def _described(task: Context[TeacherParams], data: Any) -> TeacherResult:
    """A teacher that its factory makes whenever it is needed: nothing is stored."""
    denoiser, labels = _from_factory(task.params.teacher, data)
    if task.params.teacher["name"] == "module":
        try:
            module_checks.check(denoiser, data, labels)
        except checkpoint.CheckpointError as error:
            raise TaskError(f"{task.params.teacher['target']}: {error}") from None
    return _result(denoiser, data)


def _left_in_place(task: Context[TeacherParams], data: Any) -> TeacherResult:
    """A pipeline, which is read from its folder whenever it is needed: nothing is stored."""
    options = PipelineOptions.model_validate(task.params.teacher)
    if options.identity() != task.params.identity:
        raise TaskError(f"{options.folder} has changed since this run was planned; run it again")
    denoiser = _told(task.params, task.inputs[PROMPTS], 1.0).unwrapped()
    shape = denoiser.sample_shape
    assert shape is not None
    unit = forward_flops(denoiser, noise(0, "probe", range(2), shape), torch.zeros(2, dtype=torch.int64))
    parameters = sum(p.numel() for p in denoiser.parameters())
    return TeacherResult(flops_per_evaluation=unit, parameters=parameters, latent_shape=list(shape))


def _trained(task: Context[TeacherParams], data: Any) -> TeacherResult:
    options = PretrainOptions.model_validate(task.params.teacher)
    captions = _captions(task.params.dataset, data, options)
    try:
        module = pretrain.Pretrain(options, data.shape, data.classes, captions)
    except ValueError as error:
        raise TaskError(str(error)) from None
    # An evaluation is one of the network that samples: it looks captions up.
    alone = options.model_copy(update={"label_dropout": None}) if captions else options
    result = _result(pretrain.denoiser(alone, data.shape, data.classes), data)
    ledger = Ledger(options.images, "images", result.flops_per_evaluation)
    device = accelerator(task.params.device)
    with tracked(task.folder, preview.of_teacher(module, tuple(data.shape))) as record:
        fit(module, data, options.seed, ledger, task.folder, record, task.on_progress, device)
    save_file(module.result().state_dict(), task.folder / WEIGHTS)
    _encode(task, options, data)
    return result.model_copy(update={"ledger": TeacherTraining.model_validate(ledger.to_dict())})


def _captions(dataset: str, data: Any, options: PretrainOptions) -> tuple[str, ...]:
    """What the labels of a teacher with these options stand for, where they are captions."""
    told = options.label_dropout is not None and DATASETS[dataset].prompted
    return tuple(data.prompts) if told else ()


def _encode(task: Context[TeacherParams], options: PretrainOptions, data: Any) -> None:
    """Lay down what the frozen text encoder makes of each caption."""
    if captions := _captions(task.params.dataset, data, options):
        denoiser = _read(task.folder / WEIGHTS, options, data, captions)
        pretrain.encoder(denoiser).write(task.folder / TABLE)


def _copied(task: Context[TeacherParams], data: Any) -> TeacherResult:
    """The network of the suite's file, kept with its configuration: the file may go."""
    options = CheckpointOptions.model_validate(task.params.teacher)
    path = checkpoints.located(options)
    if path is None or checkpoints.digest(path) != task.params.sha256:
        raise TaskError(f"{options.file} has changed since this run was planned; run it again")
    if method_facts(path):
        shutil.copyfile(path, task.folder / WEIGHTS)
        return _result(_exported(path, data)[0], data)
    try:
        read = checkpoint.read(path, options)
    except checkpoint.CheckpointError as error:
        raise TaskError(str(error)) from None
    try:
        denoiser = MAKERS[task.params.role](read, options, data.shape, data.classes)
    except checkpoint.CheckpointError as error:
        raise TaskError(f"{path}: {error}") from None
    read.save(task.folder / WEIGHTS)
    result = _result(denoiser, data)
    if options.classifier is None:
        return result
    guided = ClassifierGuided(denoiser, _copied_classifier(task, options.classifier, denoiser, data), 1.0)
    start, labels = noise(0, "probe", range(2), data.shape), torch.zeros(2, dtype=torch.int64)
    both = forward_flops(guided.requires_grad_(False), start, labels)
    return result.model_copy(update={"classifier_flops": both - result.flops_per_evaluation})


def _copied_classifier(
    task: Context[TeacherParams], options: ClassifierOptions, denoiser: Denoiser, data: Any
) -> NoisyClassifier:
    path = checkpoints.located_classifier(CheckpointOptions.model_validate(task.params.teacher))
    if path is None or published_files.sha256(path) != task.params.classifier:
        raise TaskError(f"{options.file} has changed since this run was planned; run it again")
    try:
        read = checkpoint.read(path, options)
    except checkpoint.CheckpointError as error:
        raise TaskError(str(error)) from None
    try:
        classifier = checkpoint.classifier(read, denoiser, data.shape, data.classes)
    except checkpoint.CheckpointError as error:
        raise TaskError(f"{path}: {error}") from None
    read.save(task.folder / CLASSIFIER)
    return classifier


MAKERS = {None: checkpoint.denoiser, "student": checkpoint.network}
"""By the role of a network that was read."""


def _exported(file: Path, data: Any) -> tuple[Denoiser, int]:
    """(the network of a student that fewstep exported, with the method that samples it; how many labels it knows)."""
    try:
        denoiser, method, classes = exported.load(file, data.classes)
    except (checkpoint.CheckpointError, ValueError, KeyError, RuntimeError) as error:
        raise TaskError(f"{file}: not a student that fewstep exported: {' '.join(str(error).split())[:200]}") from None
    if denoiser.sample_shape != tuple(data.shape):
        raise TaskError(f"{file}: its images have shape {denoiser.sample_shape}, the data set's {tuple(data.shape)}")
    # Not a module of the denoiser, which is the method's own teacher.
    denoiser.__dict__["exported"] = method
    return denoiser, classes


def _shipped(task: Context[TeacherParams], data: Any) -> TeacherResult:
    """The network that fewstep ships, copied as it is, with what training it took."""
    assert task.params.file is not None
    source, target = frozen.path(task.params.file), task.folder / WEIGHTS
    shutil.copyfile(source, target)
    if published_files.sha256(target) != task.params.sha256:
        raise TaskError(f"{source} has changed since this run was planned; run it again")
    training, options = TeacherTraining.model_validate_json(_facts(target)["ledger"]), _recorded(target)
    _encode(task, options, data)
    return _result(_pretrained(task.params.dataset, target, options, data), data, training)


def _facts(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        facts: dict[str, str] = opened.metadata() or {}
    return facts


def _recorded(file: Path) -> PretrainOptions:
    """The options with which a shipped teacher was trained."""
    return PretrainOptions.model_validate_json(_facts(file)["options"])


def recipe(file: Path, given: dict[str, Any]) -> PretrainOptions:
    """The options with which fewstep trained the network of a file, here or before it was shipped."""
    return _recorded(file) if given["name"] == "shipped" else PretrainOptions.model_validate(given)


def _read(file: Path, options: PretrainOptions, data: Any, captions: Sequence[str]) -> EDMDenoiser:
    """The denoiser of a file, with its text encoder where it reads captions."""
    denoiser = pretrain.denoiser(options, data.shape, data.classes, captions)
    denoiser.load_state_dict(load_file(file))
    return denoiser


def _pretrained(dataset: str, file: Path, options: PretrainOptions, data: Any) -> Denoiser:
    """The same as it is used: captions are looked up in the table beside the file."""
    captions = _captions(dataset, data, options)
    denoiser = _read(file, options, data, captions)
    if captions:
        pretrain.look_up(denoiser, PromptTable(file.with_name(TABLE)))
    return denoiser


def load(inputs: Mapping[str, Artifact], guidance: float | None = None, labels: str | None = None) -> Denoiser:
    """The teacher among a task's inputs, with its table of prompts if it is told some; frozen, on the CPU, and guided
    with that scale unless None.

    labels: "uniform" for samples of all classes alike, None for the data set's proportions.
    """
    artifact = inputs[TEACHER]
    params = artifact.asked(TeacherParams)
    if PROMPTS in inputs:
        return _told(params, inputs[PROMPTS], guidance).requires_grad_(False).eval()
    data = outline(params.dataset, params.content)
    denoiser, conditional = _made(artifact, params.teacher, data)
    if conditional and DATASETS[params.dataset].prompted:
        denoiser.prompts = pretrain.one_each(data.classes)
    elif conditional:
        denoiser.class_counts = _drawn(data, labels)
    denoiser.sample_shape, denoiser.sample_bound = data.shape, data.bound
    if guidance is not None:
        denoiser = Guided(denoiser, guidance)
    if params.teacher.get("classifier") is not None:
        denoiser = _classifier_guided(artifact, denoiser, params.teacher["classifier"]["scale"], data)
        # Whether the network itself knows them or not.
        denoiser.class_counts = denoiser.class_counts or _drawn(data, labels)
    return denoiser.requires_grad_(False).eval()


def _told(params: TeacherParams, table: Artifact, guidance: float | None) -> Denoiser:
    """A pipeline's network on latents, told prompts."""
    options = PipelineOptions.model_validate(params.teacher)
    file = None if options.network_file is None else Path(options.network_file)
    try:
        found = pipeline.read(Path(options.folder), options.resolution, file, options.prediction)
        told = guidance if found.facts.embeds_guidance else None
        denoiser = found.denoiser(*prompts.load(table), told, options.dtype)
    except checkpoint.CheckpointError as error:
        raise TaskError(str(error)) from None
    return denoiser if guidance is None or told is not None else Guided(denoiser, guidance)


def _drawn(data: Any, labels: str | None) -> tuple[int, ...]:
    """In what proportions labels are drawn."""
    if labels == "uniform":
        return (1,) * data.classes
    own = data.labels(torch.arange(len(data)))
    assert own is not None
    return tuple(torch.bincount(own, minlength=data.classes).tolist())


def _made(artifact: Artifact, given: dict[str, Any], data: Any) -> tuple[Denoiser, bool]:
    """The teacher, and whether it takes labels."""
    denoiser: Denoiser
    if given["name"] == "checkpoint":
        file = artifact.file(WEIGHTS)
        if method_facts(file):
            denoiser, classes = _exported(file, data)
            return denoiser, classes > 0
        read, make = checkpoint.read(file), MAKERS[artifact.asked(TeacherParams).role]
        denoiser = make(read, CheckpointOptions.model_validate(given), data.shape, data.classes)
        conditional = read.classes > 0
    elif given["name"] not in ("pretrain", "shipped"):
        denoiser, conditional = _from_factory(given, data)
    else:
        file = artifact.file(WEIGHTS)
        options = recipe(file, given)
        denoiser = _pretrained(artifact.asked(TeacherParams).dataset, file, options, data)
        conditional = options.label_dropout is not None
    return denoiser, conditional


def _classifier_guided(artifact: Artifact, denoiser: Denoiser, scale: float, data: Any) -> Denoiser:
    """The teacher with the classifier beside it."""
    read = checkpoint.read(artifact.file(CLASSIFIER))
    return ClassifierGuided(denoiser, checkpoint.classifier(read, denoiser, data.shape, data.classes), scale)


def _from_factory(given: dict[str, Any], data: Any) -> tuple[Denoiser, bool]:
    """A teacher of which nothing is stored, and whether it takes labels."""
    spec = TEACHERS.pick(given["name"])
    options = spec.options.model_validate(given)
    try:
        return spec.load()(options, data), options.conditional
    except checkpoint.CheckpointError as error:
        raise TaskError(str(error)) from None


def sample_shape(artifact: Artifact) -> tuple[int, ...]:
    """The shape of one sample: of the teacher's data set, or of its latents."""
    latent = artifact.answer(TeacherResult).latent_shape
    return tuple(latent) if latent is not None else DATASETS[artifact.asked(TeacherParams).dataset].shape
