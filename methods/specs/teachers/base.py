"""What every teacher has in a suite: a name, options, and the label under which tables show it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ...options import Options


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a label has printable characters only")
    return text


class TeacherOptions(Options, ABC):
    """What every teacher has. Its `name`, a constant of the subclass, says which kind it is."""

    label: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_printable)] | None = Field(
        None,
        description="What tables call this teacher, 1 to 60 printable characters; by default its kind and its main "
        "options. It is no part of what is computed.",
    )

    @abstractmethod
    def default_label(self) -> str:
        """What tables call it without a label."""

    def shown(self) -> str:
        """What tables call it."""
        return self.default_label() if self.label is None else self.label


@dataclass(frozen=True)
class TeacherSpec:
    """One kind of teacher.

    name: as suites write it, equal to the options' own `name`. summary: one line.
    target: "module:attribute" of its formulas, imported when a teacher is made. trains: whether the suite trains it.
    papers: keys of the bibliography, methods/papers.bib.
    """

    name: str
    target: str
    options: type[TeacherOptions]
    summary: str = ""
    trains: bool = False
    papers: tuple[str, ...] = ()

    def load(self) -> Any:
        """What is behind `target`."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]
