"""What every method has in a suite: a name, options, the NFEs that it reaches."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import Field

from ..nfe import UnreachableNFE
from ..options import Options as Options

Kind = Literal["solver", "learned solver", "student", "made elsewhere"]
KINDS: tuple[Kind, ...] = ("solver", "learned solver", "student", "made elsewhere")
"""In the order in which methods are listed."""

Betas = tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
"""Adam's decays of the mean and of the square of the gradient."""
LOWEST, HIGHEST = 1e-8, 1e6
"""Between these lies every noise level: its square is a number in single precision."""
MOST_STEPS = 65_536
"""Of what is divided into steps whose times are all kept."""
LARGEST_BATCH = 1_000_000

METHODS = __package__.rpartition(".")[0]
"""The package that the built-in targets are in."""


@dataclass(frozen=True)
class MethodSpec:
    """One method.

    name: as suites write it. target: "module:Class", imported when the method runs. summary: one line.
    options: their class. steps(nfe) gives the steps or raises UnreachableNFE; without it, options.steps_for does.
    trains: it is given a budget. needs_network: it starts from the teacher's weights, which a closed form lacks.
    per_nfe: it is trained anew for every NFE, each time with the whole budget, and told which (`nfe=`).
    transfers: what it learns can be applied to another teacher on the same path.
    conditional: its training passes labels on, so that a suite may give it a class-conditional teacher.
    kind: under which heading it is listed; what is "made elsewhere" is ranked with nothing. made: by whom, which its
    rows say where others say by what rules they were tuned. alone: its rows bring what they are sampled from, and meet
    no teacher of the suite. display: its name in tables, by default `name`.
    papers: keys of the bibliography, methods/papers.bib.
    """

    name: str
    target: str
    options: type[Options]
    steps: Callable[[int], Any] | None = None
    summary: str = ""
    trains: bool = False
    needs_network: bool = False
    per_nfe: bool = False
    transfers: bool = False
    conditional: bool = False
    kind: Kind = "student"
    made: str = ""
    alone: bool = False
    display: str = ""
    papers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.display:
            object.__setattr__(self, "display", self.name)

    @property
    def elsewhere(self) -> bool:
        return self.kind == "made elsewhere"

    def refusal(self, evaluations: int, chosen: Options | None = None) -> str | None:
        """Why this method, with its default or the chosen options, cannot sample with so many evaluations."""
        try:
            self.steps_for(evaluations, chosen)
        except UnreachableNFE as error:
            return str(error)
        return None

    def steps_for(self, evaluations: int, chosen: Options | None = None) -> Any:
        """How so many evaluations are spent under the chosen or the default options; UnreachableNFE says why not."""
        if self.steps is not None:
            return self.steps(evaluations)
        return (self.options() if chosen is None else chosen).steps_for(evaluations)

    def load(self) -> Any:
        """The class behind `target`."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def module(self) -> str:
        """The module of the formulas."""
        return self.target.partition(":")[0]


LearningRate = Annotated[
    float,
    Field(
        gt=0,
        description="Adam's largest learning rate, reached after the warm-up; it falls linearly to 0 with the budget.",
    ),
]


class StudentOptions(Options):
    """What every student that Adam trains has."""

    ema: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay per step of the averaged weights, which are sampled from; 0 keeps no average.",
    )
    learning_rate: LearningRate = 1e-3
    betas: Betas = Field((0.9, 0.99), description="Adam's decays of the mean and of the square of the gradient.")
    warmup_steps: int = Field(20, ge=0, description="Steps in which the learning rate rises linearly from 0.")
    batch: int = Field(64, ge=1, le=LARGEST_BATCH, description="Samples per training step.")
