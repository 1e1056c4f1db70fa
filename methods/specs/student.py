"""A few-step network that somebody distilled, as a row without training."""

import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ..nfe import Steps, UnreachableNFE, one_evaluation, one_per_step
from ..options import NamedOptions
from ..published_networks import NETWORKS, PublishedNetwork
from ..saved_header import method_facts
from .base import HIGHEST, LOWEST, METHODS, MOST_STEPS, MethodSpec

Kind = Literal["consistency", "progressive", "one-step", "exported"]


def released(file: str) -> PublishedNetwork | None:
    """The published consistency model that a file is called after; None for another."""
    found = NETWORKS.get(Path(file).stem)
    return found if found is not None and found.kind == "consistency" else None


class StudentRowOptions(NamedOptions):
    """A distilled network that is sampled as its authors do; nothing is trained, and it has no teacher here."""

    file: str = Field(
        "",
        description="Required: the network's file, or a name that `fewstep doctor` lists. A student that "
        "`fewstep export` wrote says itself how it is sampled.",
    )
    form: str = Field(
        "auto", description="Form of the file, as `{name: checkpoint}` has it; auto recognises it by the names in it."
    )
    kind: Literal["auto", "consistency", "progressive", "one-step"] = Field(
        "auto",
        description="How it is sampled: consistency jumps to data at each level and adds noise again, progressive "
        "takes DDIM's steps, one-step is D(sigma_init z; sigma_init). auto: as a registered name or an exported file "
        "says.",
    )
    levels: tuple[Annotated[float, Field(ge=LOWEST, le=HIGHEST)], ...] = Field(
        (),
        max_length=1000,
        description="Noise levels of a consistency model, falling; n evaluations use the first n. Empty: those that a "
        "released network is published with, otherwise sigma_max alone.",
    )
    sigma_min: float = Field(
        0.002,
        ge=LOWEST,
        le=HIGHEST,
        description="Noise level at which a consistency model is the identity; so much noise its samples still have.",
    )
    sigma_max: float = Field(
        80.0, ge=LOWEST, le=HIGHEST, description="Noise level from which a consistency model is sampled first."
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=MOST_STEPS,
        description="Steps that a progressive student was distilled for: the only NFE that it has.",
    )
    path: Literal["vp-cosine", "edm"] = Field(
        "vp-cosine",
        description="Steps of a progressive student: even in time on the cosine path (Salimans & Ho 2022), or on EDM's "
        "rho = 7 grid.",
    )
    sigma_init: float = Field(
        2.5, ge=LOWEST, le=HIGHEST, description="Noise level at which a one-step network is asked. SIM and SiD: 2.5."
    )
    clip_x0: bool | None = Field(
        None,
        description="Clamp every output to [-1, 1]; by default of consistency models alone, as their authors do.",
    )

    @model_validator(mode="after")
    def _is_one_kind(self) -> "StudentRowOptions":
        if any(before <= after for before, after in zip(self.levels, self.levels[1:], strict=False)):
            raise ValueError("levels must fall, from the largest")
        if self.levels and self.levels[-1] <= self.sigma_min:
            raise ValueError(f"levels must be above sigma_min, {self.sigma_min:g}")
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min, {self.sigma_min:g}, must be less than sigma_max, {self.sigma_max:g}")
        for key, kind in (("levels", "consistency"), ("steps", "progressive")):
            if getattr(self, key) and self.resolved not in (kind, None):
                raise ValueError(f"{key} are of kind {kind}, and this is {self.resolved}; leave them out")
        if self.resolved == "progressive" and self.file and self.steps is None:
            raise ValueError("steps is missing: how many a progressive student was distilled for")
        return self

    @cached_property
    def exported(self) -> dict[str, str]:
        """The header of a file that `fewstep export` wrote; empty for another file, or none."""
        return method_facts(Path(self.file)) if self.file else {}

    @property
    def resolved(self) -> Kind | None:
        """The kind, None where neither the options nor the file say."""
        if self.exported:
            return "exported"
        if self.kind != "auto":
            return self.kind
        return "consistency" if released(self.file) is not None else None

    def label(self) -> str:
        """The file's name, then what else is not default: cd_imagenet64_l2 levels=80,1.4."""
        words = [Path(self.file).stem]
        for key, value in self.model_dump(exclude_defaults=True, exclude={"file", "form", "kind"}).items():
            words.append(f"{key}={','.join(f'{level:g}' for level in value) if isinstance(value, tuple) else value}")
        return " ".join(words)

    def alone(self) -> "StudentRowOptions":
        """What determines the samples of a network that has been read: nothing is left to its file's name."""
        if self.exported:
            return StudentRowOptions()
        levels = self.sampled_at() if self.resolved == "consistency" else ()
        return self.model_copy(update={"file": "", "form": "auto", "kind": self.resolved, "levels": levels})

    def sampled_at(self) -> tuple[float, ...]:
        """The levels of a consistency model, the largest first."""
        if self.levels:
            return self.levels
        published = released(self.file)
        return published.levels if published is not None and published.levels else (self.sigma_max,)

    def steps_for(self, nfe: int) -> Steps:
        if self.resolved == "exported":
            return self._exported_steps(nfe)
        if self.resolved == "consistency" and nfe > (most := len(self.sampled_at())):
            raise UnreachableNFE(f"{most} level{'s' * (most > 1)} for a consistency model: give levels for NFE {nfe}")
        if self.resolved == "progressive" and nfe != self.steps:
            raise UnreachableNFE(f"the student was distilled for NFE {self.steps} only")
        return one_evaluation(nfe) if self.resolved == "one-step" else one_per_step(nfe)

    def _exported_steps(self, nfe: int) -> Steps:
        from ..registry import method

        facts = self.exported
        if facts["nfe"] and int(facts["nfe"]) != nfe:
            raise UnreachableNFE(f"the student was trained for NFE {facts['nfe']} only")
        spec = method(facts["method"])
        steps: Steps = spec.steps_for(nfe, spec.options.model_validate_json(facts["options"]))
        return steps

    def fault(self) -> str | None:
        """Why an exported file is no student that stands alone; None where it is one, or another file."""
        from ..registry import UnknownNameError, method

        facts: dict[str, Any] = self.exported
        if not facts:
            return None
        try:
            spec = method(facts["method"])
            spec.options.model_validate_json(facts["options"])
            json.loads(facts.get("network", "null"))
        except (KeyError, ValueError, ValidationError, UnknownNameError) as error:
            return f"not a student of this version of fewstep: {' '.join(str(error).split())[:200]}"
        if spec.kind != "student":
            return f"{facts['method']} is a {spec.kind}, which needs its teacher: it is no student"
        if "network" not in facts:
            return "its header does not say what its network is: export it anew, from the run that trained it"
        return None


SPEC = MethodSpec(
    name="student",
    target=f"{METHODS}.elsewhere.student:Student",
    options=StudentRowOptions,
    summary="a distilled network from a file: consistency, progressive or one-step, released or exported",
    kind="made elsewhere",
    alone=True,
    made="trained by its authors",
    display="Released student",
    papers=("song2023consistency", "salimans2022progressive"),
)
