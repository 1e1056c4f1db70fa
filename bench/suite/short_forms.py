"""Teachers in one word: `edm:FILE`, `module:package.module:factory`, or a name alone. No torch."""

from pathlib import Path
from typing import Any

from ...datasets.frozen import register as frozen
from ...methods import registry
from ...methods.teachers.pipelines import facts
from .. import published_files

FORMS = {
    "edm": "edm",
    "openai": "openai",
    "ddim": "ddpm",
    "ddpm": "ddpm",
    "score-sde": "score-sde",
    "torchcfm": "torchcfm",
    "flax-pd": "flax-pd",
    "diffusers": "diffusers",
}
"""What comes before the colon, and the form of the checkpoint that it means."""


def expanded(teacher: Any) -> Any:
    """A teacher's options, where it is a word; anything else as it is. ValueError for a word that means nothing."""
    if not isinstance(teacher, str):
        return teacher
    form, colon, rest = teacher.partition(":")
    if colon and form in (*FORMS, "module"):
        return _of_form(form, rest)
    if teacher in registry.TEACHERS:
        return {"name": teacher}
    if teacher in frozen.teachers():
        return {"name": "shipped", "file": teacher}
    if published_files.meant(teacher, published_files.CHECKPOINTS) is not None:
        return {"name": "checkpoint", "file": teacher}
    raise ValueError(f"no teacher, registered network or file {teacher[:100]!r}{_near(teacher, form if colon else '')}")


def _of_form(form: str, rest: str) -> dict[str, str]:
    if not rest:
        raise ValueError(f"{form}: takes {'package.module:factory' if form == 'module' else 'a file'} after the colon")
    if form == "module":
        return {"name": "module", "target": rest}
    if form == "diffusers" and facts.recognised(Path(rest)):
        return {"name": "pipeline", "folder": rest}
    return {"name": "checkpoint", "form": FORMS[form], "file": rest}


def _near(teacher: str, form: str) -> str:
    if form:
        return registry.did_you_mean(form, [*FORMS, "module"]) + ", followed by a colon"
    names = [*registry.TEACHERS, *frozen.teachers(), *published_files.known_names(published_files.CHECKPOINTS)]
    return registry.did_you_mean(teacher, names)
