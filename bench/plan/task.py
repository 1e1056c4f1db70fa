"""A unit of work, named by the hash of all that determines its result. No torch."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version as installed_version
from typing import Any

from . import source_version
from .kinds import Params

PACKAGE = source_version.PACKAGE


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def canonical(value: Any) -> str:
    return _CANONICAL.encode(value)


@dataclass(frozen=True)
class Task:
    """A unit of work. `params` and the inputs' keys determine its result; `cost` is for the progress bar only.

    params: what is asked, by a kind of `kinds`, each a module of bench/stages. inputs: role -> task whose artifact it
    reads. code: modules whose source is part of the key. cost: rough number of network evaluations.
    """

    params: Params
    inputs: dict[str, "Task"] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    cost: float = 0.0
    label: str = ""

    @property
    def kind(self) -> str:
        return self.params.kind

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The parameters as JSON holds them."""
        return self.params.dumped()

    @property
    def _identity(self) -> dict[str, Any]:
        """The parameters without those that only say where something lies."""
        return {name: value for name, value in self.asked.items() if name not in self.params.places}

    @property
    def modules(self) -> tuple[str, ...]:
        return (f"{PACKAGE}.bench.stages.{self.kind}", *self.code)

    @cached_property
    def key(self) -> str:
        return hashed(
            {
                "kind": self.kind,
                "params": self._identity,
                "inputs": {role: task.key for role, task in self.inputs.items()},
                "source": source_version.version(*self.modules),
                "torch": torch_version(),
            }
        )

    @cached_property
    def question(self) -> str:
        """A hash of what is asked, whatever code answers it: tasks that differ in their source alone share it."""
        asked = {role: task.question for role, task in self.inputs.items()}
        return hashed({"kind": self.kind, "params": self._identity, "inputs": asked})

    @cached_property
    def name(self) -> str:
        """The artifact's folder name."""
        return f"{self.kind}-{self.key}"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "key": self.key,
            "params": self.asked,
            "inputs": {role: task.name for role, task in self.inputs.items()},
            "label": self.label,
            "question": self.question,
            "sources": source_version.digests(*self.modules),
            "torch": torch_version(),
        }


def hashed(identity: Any) -> str:
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:16]


@cache
def torch_version() -> str:
    """The release that computes, without what it was built for."""
    return installed_version("torch").partition("+")[0]


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """These tasks and all that they need, each once, inputs before the tasks that read them."""
    ordered: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.name in ordered:
            return
        for needed in task.inputs.values():
            visit(needed)
        ordered[task.name] = task

    for task in tasks:
        visit(task)
    return list(ordered.values())
