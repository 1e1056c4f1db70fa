"""Properties of everything that samples: options, the exact NFE, paired samples, labels, an untouched teacher."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from ....datasets.base import Dataset
from ....methods.denoiser import metered
from ....methods.method import Method
from ....methods.nfe import UnreachableNFE
from ....methods.options import Options
from ....methods.specs.base import MethodSpec
from . import options, setup
from .options import label
from .properties import Failed, NotApplicable, described, require

LARGEST_NFE = 20
TOLERANCE = 1e-5
"""Largest difference between the same sample in two batches, in units of the largest sample."""


@dataclass
class Row:
    """A method or solver under test, on the tiny teacher of a data set."""

    spec: MethodSpec
    data: Dataset

    @cached_property
    def variants(self) -> list[Options]:
        return options.variants(self.spec.options)

    def claimed(self, options: Options) -> list[int]:
        """The NFEs up to LARGEST_NFE, and a power of two above, that the method claims under these options."""
        return [nfe for nfe in (*range(1, LARGEST_NFE + 1), 32) if self.spec.refusal(nfe, options) is None]

    def first_nfe(self, least: int = 1) -> int:
        """The smallest claimed NFE of at least `least` under the default options, or else the largest."""
        claimed = self.claimed(self.spec.options())
        if not claimed:
            raise NotApplicable(f"no NFE can be asked for: {self.spec.refusal(1, self.spec.options())}")
        return next((nfe for nfe in claimed if nfe >= least), claimed[-1])

    def made(self, options: Options | None = None, nfe: int | None = None, conditional: bool = False) -> Method:
        """The untrained row on a new teacher."""
        denoiser = setup.teacher(self.data, conditional)
        nfe = self.first_nfe() if nfe is None else nfe
        return setup.method(self.spec, options or self.spec.options(), denoiser, nfe).eval()

    def ready(self, options: Options | None = None, nfe: int | None = None, conditional: bool = False) -> Method:
        """The row as it can be sampled."""
        return self.made(options, nfe, conditional)


def defaults_are_valid(row: Row) -> None:
    options.defaults_are_valid(row.spec.options)


def typos_are_refused(row: Row) -> None:
    options.typos_are_refused(row.spec.options)


def nfe_is_exact(row: Row) -> None:
    """Every claimed NFE, under the defaults and each variant of the options, is what the meter counts per sample."""
    claims = [(chosen, row.claimed(chosen)) for chosen in row.variants]
    if not any(nfes for _, nfes in claims):
        raise NotApplicable(f"no NFE can be asked for: {row.spec.refusal(1, row.spec.options())}")
    for chosen, nfes in claims:
        if chosen != row.spec.options():
            # A method that trains may have to be trained for each.
            nfes = sorted({nfes[0], nfes[len(nfes) // 2], nfes[-1]}) if row.spec.trains and nfes else nfes
            nfes = [] if _unfit(row, chosen, nfes) else nfes
        for nfe in nfes:
            _meets(row, chosen, nfe)


def _unfit(row: Row, options: Options, nfes: list[int]) -> str:
    """Why these options cannot be used with the check's teacher at any NFE, as a ValueError says; "" if they can."""
    reasons = set()
    for nfe in nfes:
        try:
            setup.sampled(row.ready(options, nfe), nfe, [0])
            return ""
        except UnreachableNFE:
            return ""
        except ValueError as error:
            reasons.add(str(error))
        except Exception:  # found again, and told, where the NFE is met
            return ""
    return "; ".join(sorted(reasons))


def _meets(row: Row, options: Options, nfe: int) -> None:
    where = f"NFE {nfe}{label(options)}"
    advice = "let the spec refuse it, or sample() meet it"
    try:
        taken = _taken(row, options, nfe)
    except Exception as error:  # a method's own code may raise anything
        raise Failed(f"{where} is claimed, and sampling fails: {described(error)}; {advice}") from None
    require(taken == nfe, f"{where} is claimed, and sampling takes {taken:g} evaluations a sample; {advice}")


def _taken(row: Row, options: Options, nfe: int) -> float:
    """The evaluations per sample."""
    made = row.ready(options, nfe)
    with metered() as meter:
        setup.sampled(made, nfe, [0, 1, 2])
    return meter.evaluations / 3


def others_are_refused(row: Row) -> None:
    """What the spec refuses has a reason in one line, and is not sampled either."""
    options = row.spec.options()
    refused = [nfe for nfe in range(1, LARGEST_NFE + 1) if nfe not in row.claimed(options)]
    if not refused:
        raise NotApplicable(f"every NFE to {LARGEST_NFE} is claimed")
    for nfe in refused:
        reason = row.spec.refusal(nfe, options)
        require(bool(reason) and "\n" not in str(reason), f"NFE {nfe} is refused without a reason in one line")
    claimed = row.claimed(options)
    if not claimed and row.spec.per_nfe:
        return
    made = row.ready(options, claimed[0] if claimed else 1)
    for nfe in refused:
        try:
            setup.sampled(made, nfe, [0])
        except ValueError:
            continue
        raise Failed(f"the spec refuses NFE {nfe}, and sample() accepts it: raise UnreachableNFE there")


def samples_are_sound(row: Row) -> None:
    for least in (1, 4):
        nfe = row.first_nfe(least)
        made = row.ready(nfe=nfe)
        x0 = setup.sampled(made, nfe, range(4))
        expected = (4, *row.data.shape)
        require(tuple(x0.shape) == expected, f"samples are {tuple(x0.shape)} for noise {expected}: give one per noise")
        require(x0.dtype == torch.float32, f"samples are {x0.dtype} for noise in torch.float32: return the noise's")
        require(bool(x0.isfinite().all()), f"samples at NFE {nfe} are not finite")


def samples_are_paired(row: Row) -> None:
    """Sample i of a seed is the same in every batch and order; another seed has others."""
    nfe = row.first_nfe(4)
    made = row.ready(nfe=nfe)
    whole = setup.sampled(made, nfe, range(6))
    scale = TOLERANCE * float(whole.abs().max().clamp(min=1))
    parts = torch.cat([setup.sampled(made, nfe, rows) for rows in (range(2), range(2, 6))])
    advice = "draw noise with draws(j), or from generators that depend on the sample's index, never in sample()"
    require(_near(whole, setup.sampled(made, nfe, range(6)), scale), f"sampling twice differs: {advice}")
    require(_near(whole, parts, scale), f"sample i depends on the batch that it is in: {advice}")
    order = [5, 0, 3, 1, 4, 2]
    shuffled = setup.sampled(made, nfe, order)
    require(_near(whole[order], shuffled, scale), f"sample i depends on the order of its batch: {advice}")
    other = setup.sampled(made, nfe, range(6), seed=1)
    require(not _near(whole, other, scale), "two seeds give the same samples: start from the noise that is given")


def _near(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    return bool((one - other).abs().max() <= tolerance)


def labels_are_taken(row: Row) -> None:
    """On a class-conditional teacher each sample has its own label, in every batch."""
    if row.spec.trains and not row.spec.conditional:
        raise NotApplicable("its spec does not claim to be conditional")
    nfe = row.first_nfe(2)
    made = row.ready(nfe=nfe, conditional=True)
    whole = setup.sampled(made, nfe, range(6))
    parts = torch.cat([setup.sampled(made, nfe, rows) for rows in (range(4), range(4, 6))])
    scale = TOLERANCE * float(whole.abs().max().clamp(min=1))
    require(_near(whole, parts, scale), "with labels, sample i depends on its batch: pass each row its own label")
    with metered(), torch.no_grad():
        start = torch.randn(2, *row.data.shape, generator=torch.Generator().manual_seed(0))
        one, other = (made.sample(start, nfe, torch.full((2,), k), lambda j: start) for k in (0, 1))
    require(not torch.equal(one, other), "samples do not depend on the label: hand `condition` to the denoiser")


def teacher_is_untouched(row: Row) -> None:
    """Sampling, made or trained, leaves the teacher's weights, gradients and mode as they were."""
    made = row.ready(nfe=row.first_nfe())
    require(made.teacher is not None, "the method has no teacher")
    before = {key: value.clone() for key, value in made.teacher.state_dict().items()}
    setup.sampled(made, row.first_nfe(), range(2))
    for problem in teacher_problems(made, before):
        raise Failed(problem)


def tensors(made: Method) -> Iterator[torch.Tensor]:
    """What a method saves; numbers may be among it."""
    for value in made.state_dict().values():
        if isinstance(value, torch.Tensor) and value.numel():
            yield value


def teacher_problems(made: Method, before: dict[str, torch.Tensor]) -> Iterator[str]:
    """What is wrong with the teacher of a method, given its weights before; nothing if it was left alone."""
    advice = "the teacher is frozen and no part of the method: train a copy of it (copy.deepcopy)"
    own = {id(parameter) for parameter in made.teacher.parameters()}
    storages = {parameter.data_ptr() for parameter in made.teacher.parameters()}
    if any(not torch.equal(value, before[key]) for key, value in made.teacher.state_dict().items()):
        yield f"the teacher's weights change: {advice}"
    if any(parameter.requires_grad for parameter in made.teacher.parameters()):
        yield f"the teacher's weights ask for gradients: {advice}"
    if any(module.training for module in made.teacher.modules()):
        yield "the teacher is in training mode: leave it in eval mode"
    if any(id(parameter) in own for parameter in made.parameters()):
        yield f"the teacher's weights are among the method's parameters: {advice}"
    if any(value.data_ptr() in storages for value in tensors(made)):
        yield f"the teacher's weights are in the method's state_dict: {advice}"


PROPERTIES = {
    "the default options are valid": defaults_are_valid,
    "a misspelt option is refused in one line": typos_are_refused,
    "each claimed NFE is met exactly": nfe_is_exact,
    "every other NFE is refused with a reason": others_are_refused,
    "samples are finite and like the noise": samples_are_sound,
    "sample i of a seed is the same in every batch": samples_are_paired,
    "labels reach the denoiser": labels_are_taken,
    "the teacher is left as it was": teacher_is_untouched,
}
