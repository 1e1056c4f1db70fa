"""What may be used in a suite: methods and teachers by name, with their options and the NFEs they reach. No torch.

Every module of `specs` is found by itself. Another package adds an entry through the entry point group
`fewstep.methods` (a MethodSpec), `fewstep.solvers` (a SolverSpec) or `fewstep.teachers` (a TeacherSpec), in a module
that does not import torch either.
"""

from collections.abc import Iterator

from . import specs
from .register import Register, announced
from .register import UnknownNameError as UnknownNameError
from .register import did_you_mean as did_you_mean
from .register import pick as pick
from .specs import teachers
from .specs.base import KINDS, Kind, MethodSpec
from .specs.solver import SolverSpec
from .specs.teachers.base import TeacherSpec

# A task names the modules of what it looks up here.
PART_OF_RESULTS = False


def _built_in() -> Iterator[MethodSpec]:
    """Solvers, then learned solvers, then students; within these by the names of their files."""
    found: list[MethodSpec] = list(announced(specs))
    yield from sorted(found, key=lambda spec: KINDS.index(spec.kind))


METHODS: Register[MethodSpec] = Register(
    "method", "fewstep.methods", _built_in, of=MethodSpec, also={"fewstep.solvers": SolverSpec}
)
TEACHERS: Register[TeacherSpec] = Register("teacher", "fewstep.teachers", lambda: announced(teachers), of=TeacherSpec)

TRAINED_ON_IMAGES = ("consistency", "consistency-training", "progressive", "tract")
"""Methods here whose training takes images of the data set; the others have enough in the teacher."""


def data_free(spec: MethodSpec) -> bool | None:
    """Whether the method needs no image of the data set; None for one of another package that does not say so by an
    attribute `data_free` of its spec.
    """
    own = not spec.trains or spec.target.startswith(f"{__package__}.")
    return getattr(spec, "data_free", spec.name not in TRAINED_ON_IMAGES if own else None)


def method(name: str) -> MethodSpec:
    """The method of that name; UnknownNameError names the nearest."""
    return METHODS.pick(name)


def of_kind(*kinds: Kind) -> dict[str, MethodSpec]:
    """The methods of these kinds by name."""
    return {name: spec for name, spec in METHODS.items() if spec.kind in kinds}
