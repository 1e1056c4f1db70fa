"""What can stand in a suite: methods by name, with their options and the NFEs that they reach. No torch.

Another package adds a row through the entry point group `fewstep.methods`: each entry point names a
MethodSpec, in a module that does not import torch either.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from . import nfe, options
from .options import Options


class UnknownNameError(ValueError):
    """A name that no registry holds; the message lists the nearest."""


@dataclass(frozen=True)
class MethodSpec:
    """One method: `target` is "module:Class", imported when it runs; `steps` maps an NFE to steps or refuses it.

    per_nfe: it is trained anew for every NFE, each time with the whole budget, and told which (`nfe=`).
    transfers: what it learns can be applied to another teacher of the same path.
    conditional: its training takes the labels of a class-conditional teacher, so that it may stand beside one.
    """

    name: str
    target: str
    options: type[options.Options]
    steps: Callable[[int], Any]
    summary: str
    trains: bool = False
    needs_network: bool = False
    per_nfe: bool = False
    transfers: bool = False
    conditional: bool = False

    def refusal(self, evaluations: int, chosen: Options | None = None) -> str | None:
        """Why this method, with its default or the chosen options, cannot sample with so many evaluations.

        What the options need and this machine lacks is such a reason too.
        """
        try:
            self._plan(evaluations, chosen)
        except nfe.UnreachableNFE as error:
            return str(error)
        return None if chosen is None else chosen.missing()

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        return self.steps(evaluations)

    def load(self) -> Any:
        """The class behind `target`."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]


@dataclass(frozen=True)
class SolverSpec(MethodSpec):
    """A fixed-step solver: how many evaluations its steps take follows from `rule`, `order` and the options."""

    rule: nfe.Rule = nfe.one_per_step
    order: int = 1
    inner_nodes: bool = False

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        if not isinstance(chosen, options.SolverOptions):
            return super()._plan(evaluations, chosen)
        clean = chosen.grid.end != "min" or (chosen.path or "").startswith("flow")
        return nfe.plan(evaluations, self.rule, self.order, chosen, clean)


@dataclass(frozen=True)
class ConsistencySpec(MethodSpec):
    """Consistency models reach every NFE, or those that levels are searched for."""

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        if isinstance(chosen, options.ConsistencyStudentOptions) and chosen.levels == "searched":
            return nfe.searched_levels(evaluations, chosen.searched_nfe)
        return super()._plan(evaluations, chosen)


@dataclass(frozen=True)
class BespokeSpec(MethodSpec):
    """Bespoke solvers reach the multiples of their options' order."""

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        order = chosen.order if isinstance(chosen, options.BespokeOptions) else options.BespokeOptions().order
        return nfe.bespoke_steps(evaluations, order)


@dataclass(frozen=True)
class RectifiedFlowSpec(MethodSpec):
    """Any NFE, or the one that the options distil for."""

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        distilled = chosen.distil if isinstance(chosen, options.RectifiedFlowOptions) else 0
        return nfe.rectified_flow(evaluations, distilled)


@dataclass(frozen=True)
class DODESpec(MethodSpec):
    """D-ODE solvers reach what their base solver reaches."""

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        name, given = (chosen if isinstance(chosen, options.DODEOptions) else options.DODEOptions()).base()
        base = SOLVERS[name]
        return base._plan(evaluations, base.options(**given))


@dataclass(frozen=True)
class IIASpec(MethodSpec):
    """IIA reaches what its options' base solver reaches, where any step of that is fitted."""

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        chosen = chosen if isinstance(chosen, options.IIAOptions) else options.IIAOptions()
        base = SOLVERS[chosen.base]
        steps = len(base._plan(evaluations, base.options.model_validate({"grid": chosen.grid})))
        return nfe.iia_steps(steps, chosen.grid.end != "min", chosen.base == "heun")


@dataclass(frozen=True)
class ProgressiveSpec(MethodSpec):
    """Progressive distillation has a student for each halving of its options' start_steps."""

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        own = chosen if isinstance(chosen, options.ProgressiveOptions) else options.ProgressiveOptions()
        return nfe.halvings(evaluations, own.steps)


@dataclass(frozen=True)
class TractSpec(MethodSpec):
    """TRACT has a student at the steps where a phase ends."""

    def _plan(self, evaluations: int, chosen: Options | None) -> Any:
        own = chosen if isinstance(chosen, options.TractOptions) else options.TractOptions()
        return nfe.phase_end(evaluations, own.phases)


_PACKAGE = __package__


def _solver(
    name: str,
    target: str,
    summary: str,
    chosen: type[options.SolverOptions] = options.SolverOptions,
    rule: nfe.Rule = nfe.one_per_step,
    order: int = 1,
    inner_nodes: bool = False,
) -> SolverSpec:
    default = chosen()
    steps = partial(nfe.plan, rule=rule, order=order, options=default, clean=default.grid.end != "min")
    target = f"{_PACKAGE}.solvers.{target}"
    return SolverSpec(name, target, chosen, steps, summary, rule=rule, order=order, inner_nodes=inner_nodes)


def _singlestep(name: str, summary: str, chosen: type[options.SinglestepOptions], order: int) -> SolverSpec:
    return _solver(name, "dpm_solver:singlestep", summary, chosen, nfe.singlestep, order, inner_nodes=True)


def _by_order(
    name: str, target: str, summary: str, chosen: type[options.SolverOptions], orders: Iterable[int] = (1, 2, 3)
) -> list[SolverSpec]:
    return [_solver(name.format(k), target, summary.format(k), chosen, order=k) for k in orders]


def _one_step(name: str, target: str, chosen: type[Options], summary: str) -> MethodSpec:
    """A distilled student that samples in one evaluation."""
    target = f"{_PACKAGE}.distillation.{target}"
    return MethodSpec(
        name, target, chosen, nfe.one_evaluation, summary, trains=True, needs_network=True, conditional=True
    )


_RK45 = MethodSpec(
    "rk45",
    f"{_PACKAGE}.solvers.rk45:AdaptiveSolver",
    options.AdaptiveOptions,
    nfe.adaptive,
    "adaptive Dormand-Prince 5(4): the truth that rmse is measured against",
)

SOLVERS: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in [
        _solver("euler", "euler:euler", "Euler on (x/alpha, sigma/alpha), which is DDIM with eta 0"),
        _solver("ddim", "ddim:ddim_eta", "DDIM (Song et al. 2021); eta 0 is euler", options.DDIMOptions),
        _solver("ddpm", "ddim:ddpm", "DDPM's ancestral sampling (Ho et al. 2020)", options.DDPMOptions),
        _solver(
            "heun",
            "heun:heun",
            "EDM's Heun sampler, with or without churn (Karras et al. 2022)",
            options.HeunOptions,
            nfe.heun,
        ),
        _solver(
            "runge-kutta",
            "runge_kutta:runge_kutta",
            "explicit Runge-Kutta in t or in rho: flow matching's fixed steps, DEIS's rhoRK",
            options.RungeKuttaOptions,
            nfe.runge_kutta,
        ),
        _solver(
            "rk4",
            "runge_kutta:runge_kutta",
            "fourth-order Runge-Kutta in t (Lipman et al. 2023 and after)",
            options.RK4Options,
            nfe.runge_kutta,
        ),
        _RK45,
        *[
            _singlestep(f"dpm-solver-{k}", f"DPM-Solver-{k}, singlestep (Lu et al. 2022)", options.SinglestepOptions, k)
            for k in (1, 2, 3)
        ],
        _singlestep("dpm-solver-fast", "DPM-Solver-fast: orders 3, 2, 1 (Lu et al. 2022)", options.FastOptions, 3),
        _solver("dpmpp-1", "dpm_solver:multistep", "DPM-Solver++(1), which is DDIM", options.MultistepOptions),
        _singlestep("dpmpp-2s", "DPM-Solver++(2S) (Lu et al. 2022)", options.PlusPlusSinglestepOptions, 2),
        *_by_order(
            "dpmpp-{}m", "dpm_solver:multistep", "DPM-Solver++({}M) (Lu et al. 2022)", options.MultistepOptions, (2, 3)
        ),
        *_by_order("deis-tab{}", "deis:deis_tab", "DEIS tAB{} (Zhang & Chen 2023)", options.DEISOptions),
        *_by_order("deis-rhoab{}", "deis:deis_rhoab", "DEIS rhoAB{} (Zhang & Chen 2023)", options.DEISOptions),
        _solver("pndm", "pndm:f_pndm", "PNDM, that is F-PNDM (Liu et al. 2022)", options.PNDMOptions, nfe.f_pndm),
        _solver("f-pndm", "pndm:f_pndm", "F-PNDM, order 4 (Liu et al. 2022)", options.PNDMOptions, nfe.f_pndm),
        _solver("s-pndm", "pndm:s_pndm", "S-PNDM, order 2 (Liu et al. 2022)", rule=nfe.s_pndm),
        _solver("ipndm", "pndm:ipndm", "iPNDM, equal-step weights (Zhang & Chen 2023)", options.IPNDMOptions),
        _solver("ipndm-v", "deis:ipndm_v", "iPNDM with weights of the grid's own steps", options.IPNDMOptions),
        *_by_order("unipc-{}", "unipc:unipc", "UniPC-{} (Zhao et al. 2023)", options.UniPCOptions),
    ]
}

TRAINED: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in [
        ConsistencySpec(
            "consistency",
            f"{_PACKAGE}.distillation.consistency:Consistency",
            options.ConsistencyOptions,
            nfe.one_per_step,
            "consistency distillation (Song et al. 2023)",
            trains=True,
            needs_network=True,
            conditional=True,
        ),
        ConsistencySpec(
            "consistency-training",
            f"{_PACKAGE}.distillation.consistency_training:ConsistencyTraining",
            options.ConsistencyTrainingOptions,
            nfe.one_per_step,
            "consistency training: CT (Song et al. 2023), iCT (Song & Dhariwal 2023), ECT (Geng et al. 2024)",
            trains=True,
            needs_network=True,
            conditional=True,
        ),
        ProgressiveSpec(
            "progressive",
            f"{_PACKAGE}.distillation.progressive:Progressive",
            options.ProgressiveOptions,
            nfe.one_per_step,
            "progressive distillation (Salimans & Ho 2022): one run makes a student for each halving of the steps",
            trains=True,
            needs_network=True,
            conditional=True,
        ),
        _one_step(
            "boot",
            "boot:Boot",
            options.BootOptions,
            "BOOT: data-free bootstrapping of the signal along the ODE, one step (Gu et al. 2023)",
        ),
        _one_step(
            "knowledge",
            "knowledge:Knowledge",
            options.KnowledgeOptions,
            "knowledge distillation on pairs of noise and solution (Luhman & Luhman 2021)",
        ),
        RectifiedFlowSpec(
            "rectified-flow",
            f"{_PACKAGE}.distillation.rectified_flow:RectifiedFlow",
            options.RectifiedFlowOptions,
            nfe.rectified_flow,
            "reflow of the teacher's ODE (Liu et al. 2023), distilled for k steps if asked (InstaFlow)",
            trains=True,
            needs_network=True,
            conditional=True,
        ),
        TractSpec(
            "tract",
            f"{_PACKAGE}.distillation.tract:Tract",
            options.TractOptions,
            nfe.one_per_step,
            "TRACT (Berthelot et al. 2023): jumps distilled in phases, a student where each ends",
            trains=True,
            needs_network=True,
            conditional=True,
        ),
        _one_step("sim", "sim:SIM", options.SIMOptions, "Score Implicit Matching, data-free (Luo et al. 2024)"),
        _one_step("sid", "sim:SIM", options.SiDOptions, "SiD, Score identity Distillation (Zhou et al. 2024)"),
        _one_step(
            "diff-instruct",
            "diff_instruct:DiffInstruct",
            options.DiffInstructOptions,
            "Diff-Instruct: integral KL between noised distributions (Luo et al. 2023)",
        ),
        _one_step(
            "dmd",
            "dmd:DMD",
            options.DMDOptions,
            "DMD2 without its GAN (Yin et al. 2024); `regression` adds the first DMD's pairs",
        ),
        BespokeSpec(
            "bespoke",
            f"{_PACKAGE}.learned_solvers.bespoke:Bespoke",
            options.BespokeOptions,
            nfe.one_per_step,
            "Bespoke solvers (Shaul et al. 2024): a Runge-Kutta rule in a learned scale and time, one per NFE",
            trains=True,
            per_nfe=True,
            transfers=True,
            conditional=True,
        ),
        DODESpec(
            "d-ode",
            f"{_PACKAGE}.learned_solvers.d_ode:DODE",
            options.DODEOptions,
            nfe.one_per_step,
            "D-ODE solvers (Kim et al. 2024): one fitted scalar per evaluation of a base solver",
            trains=True,
            per_nfe=True,
            transfers=True,
            conditional=True,
        ),
        IIASpec(
            "iia",
            f"{_PACKAGE}.learned_solvers.iia:IIA",
            options.IIAOptions,
            nfe.one_per_step,
            "IIA (Zhang et al. 2024): a solver's steps with coefficients fitted to its own finer steps, one per NFE",
            trains=True,
            per_nfe=True,
            transfers=True,
            conditional=True,
        ),
    ]
}


@cache
def methods() -> dict[str, MethodSpec]:
    """Every method by name: the suite's own, then those of installed packages."""
    found = {**SOLVERS, **TRAINED}
    for point in entry_points(group="fewstep.methods"):
        spec = point.load()
        found[spec.name] = spec
    return found


def method(name: str) -> MethodSpec:
    return pick(methods(), name, "method")


T = TypeVar("T")


def pick(known: dict[str, T], name: str, kind: str) -> T:
    """known[name], or an error that names the nearest known one."""
    if name in known:
        return known[name]
    raise UnknownNameError(f"unknown {kind} {name!r}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; one of {', '.join(known)}"
