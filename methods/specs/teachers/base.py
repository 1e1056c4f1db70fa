"""What every teacher has in a suite: a name, options, and the label under which tables show it.

What a TeacherSpec's `target` must be is said by Factory.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, get_args, get_origin

from pydantic import AfterValidator, Field, model_validator

from ...options import Options

if TYPE_CHECKING:
    from ...denoiser import Denoiser


def printable(text: str) -> str:
    """The text; ValueError if a table cannot show it."""
    if not text.isprintable():
        raise ValueError("a label has printable characters only")
    return text


class TeacherOptions(Options, ABC):
    """What every teacher has. `name: Literal["mine"] = "mine"`, a constant of the subclass, says which kind it is.

    An option `guidance`, a number or None, is the scale of classifier-free guidance: fewstep applies it itself, and
    the factory is never given it. Options `sigma_min` and `sigma_max` are the noise levels between which solvers go.
    What `missing` returns is a reason to skip the teacher's rows.
    """

    name: str
    label: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(printable)] | None = Field(
        None,
        description="What tables call this teacher, 1 to 60 printable characters; by default its kind and its main "
        "options. It is no part of what is computed.",
    )

    @model_validator(mode="after")
    def _levels_fall(self) -> "TeacherOptions":
        if (ends := self.levels()) is not None and ends[0] >= ends[1]:
            raise ValueError(f"sigma_min, {ends[0]:g}, must be less than sigma_max, {ends[1]:g}")
        return self

    def levels(self) -> tuple[float, float] | None:
        """The smallest and the largest noise level that solvers go to, None where the options do not say."""
        lowest, highest = getattr(self, "sigma_min", None), getattr(self, "sigma_max", None)
        return None if lowest is None or highest is None else (lowest, highest)

    @abstractmethod
    def default_label(self) -> str:
        """What tables call it without a label."""

    def shown(self) -> str:
        """What tables call it."""
        return self.default_label() if self.label is None else self.label

    @property
    def conditional(self) -> bool:
        """Whether the denoiser takes labels: fewstep then draws them in the data set's proportions."""
        return False

    def identity(self) -> dict[str, str]:
        """What tells the teacher from others of the same options: the hash of each file that it is read from.

        Asked when a run is planned, without torch: a stored result belongs to this identity.
        """
        return {}


class Factory(Protocol):
    """What a teacher's `target` names, unless the teacher is one that fewstep stores: pretrain, shipped, checkpoint."""

    def __call__(self, options: Any, data: Any) -> "Denoiser":
        """The denoiser, ready to use, on the CPU; it freezes nothing, stores nothing and loads what it needs itself.

        Called in each process that uses the teacher, each time with the same result. options: of the spec's class;
        data: a `datasets.base.Dataset`, whose `shape` the denoiser's samples have. An evaluation holds matrix products
        or convolutions: their FLOPs are the unit of budgets.
        """
        ...


@dataclass(frozen=True)
class TeacherSpec:
    """One kind of teacher.

    name: as suites write it, equal to the options' own `name`. summary: one line.
    target: "module:factory", see Factory, imported when a teacher is made; its module and that of the options, with
    what they import from their own package, are the teacher's source version. options: their class. trains: whether
    the suite trains it. network: whether it is a network, whose weights students may start from, and no formula.
    papers: keys of the bibliography, methods/papers.bib.
    """

    name: str
    target: str
    options: type[TeacherOptions]
    summary: str = ""
    trains: bool = False
    network: bool = True
    papers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        field = self.options.model_fields.get("name")
        named = field is not None and get_origin(field.annotation) is Literal and get_args(field.annotation)
        if named != (self.name,) or field is None or field.default != self.name:
            wanted = f'`name: Literal["{self.name}"] = "{self.name}"`'
            raise ValueError(f"teacher {self.name}: {self.options.__name__} must have {wanted}")

    def load(self) -> Any:
        """What is behind `target`."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]
