"""The suite of `fewstep choose`. No torch."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ...datasets.frozen import register as frozen
from ...datasets.registry import DATASETS, DatasetSpec
from ...methods.register import UnknownNameError, did_you_mean
from ...methods.registry import of_kind
from .. import published_files
from ..errors import InputError
from ..metrics.register import METRICS, defined
from ..plan import checkpoints
from ..plan.problem import problems
from ..plan.references import lacking
from ..suite import short_forms
from ..suite.loading import checked
from ..suite.schema import Suite


@dataclass(frozen=True)
class Choice:
    """What is asked. file: of the network, its form before a colon or not, or a shipped teacher.
    dataset: a name, or the path of images.

    solvers: by default all of them.
    """

    file: str
    dataset: str
    nfe: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    samples: int = 2000
    metric: str | None = None
    solvers: tuple[str, ...] = ()
    device: str = "auto"

    def suite(self) -> Suite:
        """Checked: InputError for whatever cannot be run here."""
        suite = checked("choose", self.text())
        problem, *_ = problems(suite)
        if problem.missing is not None:
            raise InputError(str(problem.missing))
        # Opens the network's file.
        _ = problem.teacher_task
        return suite

    def text(self) -> str:
        """The suite as YAML."""
        spec = self._spec()
        teacher = self._teacher()
        called = Path(teacher["file"])
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"choose-{called.stem}-{spec.shown}")
        content: dict[str, Any] = {
            "name": name,
            "description": f"Which solver for {called.name} at {', '.join(map(str, self.nfe))} evaluations.",
            "datasets": self.dataset,
            "teachers": teacher,
            "nfe": list(self.nfe),
            "seeds": list(self.seeds),
            "samples": self.samples,
            "metrics": self._metric(spec),
            "device": self.device,
            "methods": self._methods(),
        }
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

    def _teacher(self) -> dict[str, Any]:
        form, colon, rest = self.file.partition(":")
        if self.file in frozen.teachers():
            return {"name": "shipped", "file": self.file}
        if not colon or form not in short_forms.FORMS or os.path.exists(self.file):
            return {"name": "checkpoint", "file": self._found(self.file)}
        return {"name": "checkpoint", "form": short_forms.FORMS[form], "file": self._found(rest)}

    def _found(self, file: str) -> str:
        if checkpoints.meant(file) is None:
            known = [*frozen.teachers(), *published_files.known_names(published_files.CHECKPOINTS)]
            near = did_you_mean(file, known)
            near = near if "did you mean" in near else "; `fewstep doctor` lists those that are known"
            raise InputError(f"no file {file}, and no known network of that name{near}")
        return file

    def _spec(self) -> DatasetSpec:
        try:
            return DATASETS.pick(self.dataset)
        except UnknownNameError as error:
            raise InputError(str(error)) from None

    def _metric(self, spec: DatasetSpec) -> str:
        """The one that is asked for, or the data set's own, or the first Fréchet distance that can be had here."""
        if self.metric is not None:
            if self.metric not in METRICS:
                raise InputError(f"--metric: unknown metric {self.metric!r}{did_you_mean(self.metric, METRICS)}")
            if self.metric not in (known := defined(spec.groups, spec.quality)):
                raise InputError(f"--metric: {self.metric} is not defined on {spec.shown}; one of {', '.join(known)}")
            _require_here(self.metric)
            return self.metric
        known = [name for name in defined(spec.groups, spec.quality) if METRICS[name].takes_statistics]
        candidates = [spec.quality] if spec.quality else known
        if not candidates:
            raise InputError(f"{self.dataset} has no Fréchet distance to judge by; choose another with --metric")
        ready = [name for name in candidates if name not in lacking(candidates, {})]
        if not ready:
            _require_here(candidates[0])
        return ready[0]

    def _methods(self) -> list[str | dict[str, Any]]:
        """The solvers that reach an NFE, each with those that it reaches."""
        known = of_kind("solver")
        for name in self.solvers:
            if name not in known:
                raise InputError(f"--solvers: unknown solver {name!r}{did_you_mean(name, known)}")
            if not self._reached(name, known):
                raise InputError(f"--solvers: {name} reaches none of these NFEs: {known[name].refusal(self.nfe[0])}")
        reached = {name: self._reached(name, known) for name in self.solvers or known}
        found: list[str | dict[str, Any]] = [
            name if nfe == list(self.nfe) else {"name": name, "nfe": nfe} for name, nfe in reached.items() if nfe
        ]
        if not found:
            raise InputError(f"no solver reaches NFE {' or '.join(map(str, self.nfe))}")
        return found

    def _reached(self, name: str, known: Mapping[str, Any]) -> list[int]:
        return [nfe for nfe in self.nfe if known[name].refusal(nfe) is None]


def _require_here(metric: str) -> None:
    if (missing := lacking([metric], {}).get(metric)) is not None:
        raise InputError(f"{metric}: {missing}")


def numbers(option: str, text: str, least: int) -> tuple[int, ...]:
    """Whole numbers with commas between, each once. InputError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", part) and int(part) >= least for part in parts):
        raise InputError(f"{option} {text}: expected whole numbers from {least} with commas between, such as 4,6,8")
    return tuple(dict.fromkeys(map(int, parts)))
