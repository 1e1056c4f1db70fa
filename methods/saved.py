"""A trained method as a file: its weights as safetensors, and in the header what they were fitted to.

A learned solver's numbers are right for one path, one guidance scale and one teacher: another is refused.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from . import registry, weights_file
from .classifier_guidance import ClassifierGuided, NoisyClassifier
from .denoiser import Denoiser, Guided
from .method import Method
from .options import Options
from .prompts import PromptTable
from .saved_header import FORMAT
from .teachers.preconditioned import Told

KEPT = "network/"
"""Before the names of tensors that an exported file keeps of its network."""


class MismatchError(ValueError):
    """The file does not belong to this teacher; the message says in what."""


def fingerprint(denoiser: Denoiser) -> str:
    """16 hex digits of a denoiser's classes, path, guidance, prompts and weights: equal denoisers, equal fingerprints.

    Raises ValueError for a denoiser that has no weights, such as a plain function.
    """
    digest = hashlib.sha256()
    for module in denoiser.modules():
        digest.update(type(module).__qualname__.encode())
        if isinstance(module, Denoiser):
            digest.update(repr(module.path).encode())
        if isinstance(module, Told | NoisyClassifier):
            digest.update(module.identity().encode())
        if isinstance(table := getattr(module, "table", None), PromptTable):
            digest.update(table.identity.encode())
        if isinstance(module, Guided | ClassifierGuided):
            digest.update(repr(float(module.scale)).encode())
    weights = denoiser.state_dict()
    if not weights:
        raise ValueError(f"a {type(denoiser).__name__} without weights has no fingerprint")
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()[:16]


def save(method: Method, name: str, options: Options, file: Path, nfe: int | None = None) -> None:
    """Write the weights that training made, with all that `load` checks.

    name: the method's in the registry; options: those that it was made with; nfe: of one trained per NFE.
    """
    facts = {
        "format": FORMAT,
        "method": name,
        "options": options.model_dump_json(),
        "seed": str(method.seed),
        "nfe": "" if nfe is None else str(nfe),
        "path": repr(method.teacher.path),
        "guidance": guidance(method.teacher),
        "teacher": fingerprint(method.teacher),
        **{key: str(value) for key, value in method.facts().items()},
    }
    weights_file.save(method.result().state_dict(), file, facts)


def read_facts(file: Path) -> dict[str, str]:
    """The header of a saved method. ValueError if the file is not one."""
    try:
        with safe_open(file, "pt") as opened:
            facts: dict[str, str] = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file}: not a saved method: {error}") from None
    if facts.get("format") != FORMAT:
        raise ValueError(f"{file}: not a saved method: format {facts.get('format')!r}, not {FORMAT!r}")
    return facts


def load(file: Path, teacher: Denoiser, transfer: bool = False) -> Method:
    """The saved method on its teacher.

    transfer: apply a learned solver to another teacher of the same path and guidance, as Shaul et al. (2024)
    do between data sets. Raises MismatchError where path, guidance or (without transfer) the teacher differ.
    """
    facts = read_facts(file)
    spec = registry.method(facts["method"])
    check(facts, teacher, transfer)
    nfe = {"nfe": int(facts["nfe"])} if facts["nfe"] else {}
    options = spec.options.model_validate(json.loads(facts["options"]))
    method: Method = spec.load()(teacher, options, seed=int(facts["seed"]), **nfe)
    method.result().load_state_dict(weights(file))
    return method


def weights(file: Path) -> dict[str, Tensor]:
    """What training made, without what an exported file keeps of its network beside."""
    return {name: tensor for name, tensor in load_file(file).items() if not name.startswith(KEPT)}


def check(facts: dict[str, str], teacher: Denoiser, transfer: bool = False) -> None:
    """MismatchError unless a method with these facts may run on `teacher`."""
    name = facts["method"]
    if facts["path"] != repr(teacher.path):
        raise MismatchError(f"this {name} was fitted on the path {facts['path']}; the teacher is on {teacher.path!r}")
    if facts["guidance"] != guidance(teacher):
        asked, fitted = guidance(teacher) or "none", facts["guidance"] or "none"
        raise MismatchError(f"this {name} was fitted at guidance {fitted}; the teacher has {asked}")
    found = fingerprint(teacher)
    if not transfer and facts["teacher"] != found:
        raise MismatchError(
            f"this {name} was fitted to teacher {facts['teacher']}; this is {found}: fit it anew, or say transfer=True"
        )


def guidance(teacher: Denoiser) -> str:
    """The guidance scales of a guided teacher, such as "2" and "classifier 0.5"; "" of another."""
    guided = [part for part in teacher.modules() if isinstance(part, Guided | ClassifierGuided)]
    return ", ".join(f"{'' if isinstance(part, Guided) else 'classifier '}{part.scale:g}" for part in guided)
