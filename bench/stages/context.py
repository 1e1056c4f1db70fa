"""What a stage is given: its parameters, its inputs' artifacts, a folder to write to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from ..plan.kinds import Params
from ..store import Artifact

P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class Context(Generic[P]):
    key: str
    label: str
    params: P
    inputs: dict[str, Artifact]
    folder: Path
    on_progress: Callable[[float], None] = field(default=lambda share: None)
