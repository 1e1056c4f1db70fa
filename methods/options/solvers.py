"""Time grids and the options of training-free solvers."""

from typing import Literal

from pydantic import Field, model_validator

from .base import Options


class Grid(Options):
    """The time grid of a solver; see methods/solvers/grids.py for the formulas.

    spacing: where the nodes lie between the largest and the smallest noise level; "ddim-uniform" and
    "ddim-quad" are DDIM's labels on a discrete path, of which the last is followed by clean data.
    end: "zero" replaces the last node by noise level 0, so that no evaluation is spent at sigma_min;
    "append-zero" is EDM's (a node at sigma_min, then 0); "min" stops at the smallest level.
    noise_min, noise_max: ends in sigma/alpha; the path's own where not given.
    """

    spacing: Literal["karras", "log-snr", "uniform", "quadratic", "ddim-uniform", "ddim-quad"] = "karras"
    rho: float = Field(7.0, gt=0)
    end: Literal["zero", "append-zero", "min"] = "zero"
    noise_min: float | None = Field(None, gt=0)
    noise_max: float | None = Field(None, gt=0)

    def label(self) -> str:
        spacing = f"karras-{self.rho:g}" if self.spacing == "karras" else self.spacing
        ends = [f"{key}={value:g}" for key, value in self.ends().items()]
        return "grid=" + " ".join([spacing, self.end, *ends])

    def ends(self) -> dict[str, float]:
        given = {"noise_min": self.noise_min, "noise_max": self.noise_max}
        return {key: value for key, value in given.items() if value is not None}


class SolverOptions(Options):
    """What every training-free solver has.

    afs: the first evaluation is replaced by its value for data of unit variance, x/sqrt(alpha^2 + sigma^2)
    for eps (analytical first step, Dockhorn et al. 2022): one evaluation less.
    denoise_to_zero: the result is D at the last node, one evaluation more; needs grid.end "min".
    thresholding: dynamic thresholding of D (Saharia et al. 2022) with this smallest threshold.
    path: the path to solve on, converted exactly, from the teacher's own largest noise level; the
    teacher's where not given.
    """

    grid: Grid = Grid()
    path: Literal["vp-linear", "vp-cosine", "flow-ot", "flow-cosine"] | None = None
    afs: bool = False
    denoise_to_zero: bool = False
    thresholding: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _ends_once(self) -> "SolverOptions":
        if self.denoise_to_zero and self.grid.end != "min":
            raise ValueError("denoise_to_zero needs grid.end: min; other grids end at clean data by themselves")
        return self


class DDIMOptions(SolverOptions):
    """eta: 0 deterministic, 1 the posterior's own noise (Song et al. 2021, eq. 16)."""

    eta: float = Field(0.0, ge=0, le=1)


class DDPMOptions(SolverOptions):
    """variance: the two choices of Ho et al. 2020, section 3.2. clip_x0: D is clamped to [-1, 1], as they do."""

    variance: Literal["fixedlarge", "fixedsmall"] = "fixedlarge"
    clip_x0: bool = True


class HeunOptions(SolverOptions):
    """Karras et al. 2022, algorithm 2; alpha is that of their second-order family (1 Heun, 1/2 midpoint).

    Churn acts between the noise levels S_min and S_max; without S_max it has no upper end.
    """

    S_churn: float = Field(0.0, ge=0)
    S_min: float = Field(0.0, ge=0)
    S_max: float | None = Field(None, ge=0)
    S_noise: float = Field(1.0, ge=0)
    alpha: float = Field(1.0, gt=0, le=1)


class RungeKuttaOptions(SolverOptions):
    """variable: integrate dx/dt in the path's t, or d(x/alpha)/d(rho) = eps in rho = sigma/alpha.

    last_step: "euler" takes one evaluation in a step to clean data; "full" evaluates there too.
    """

    grid: Grid = Grid(end="min")
    tableau: Literal["euler", "midpoint", "heun", "kutta3", "heun3", "rk4", "rk4-3/8"] = "midpoint"
    variable: Literal["t", "rho"] = "t"
    last_step: Literal["full", "euler"] = "full"


class RK4Options(RungeKuttaOptions):
    """ "rk4-3/8" is what torchdiffeq, hence flow matching's code, calls rk4; "rk4" is the classic tableau."""

    tableau: Literal["rk4", "rk4-3/8"] = "rk4-3/8"


class MultistepOptions(SolverOptions):
    """algorithm_type: exponential integrator on eps ("dpmsolver") or on D ("dpmsolver++").

    solver_type: how the second order weighs its difference. lower_order_final: whether the last steps
    fall to orders 2 and 1; true is the authors' code, below ten steps, "always" is diff-sampler's.
    """

    algorithm_type: Literal["dpmsolver", "dpmsolver++"] = "dpmsolver++"
    solver_type: Literal["dpmsolver", "taylor"] = "dpmsolver"
    lower_order_final: bool | Literal["always"] = True


class SinglestepOptions(SolverOptions):
    """method: "singlestep_fixed" takes steps of the full order only; "singlestep" spends every NFE, the
    rest in steps of lower order, and is DPM-Solver-fast at order 3. The others as for multistep.
    """

    algorithm_type: Literal["dpmsolver", "dpmsolver++"] = "dpmsolver"
    solver_type: Literal["dpmsolver", "taylor"] = "dpmsolver"
    method: Literal["singlestep", "singlestep_fixed"] = "singlestep_fixed"


class FastOptions(SinglestepOptions):
    method: Literal["singlestep"] = "singlestep"


class PlusPlusSinglestepOptions(SinglestepOptions):
    algorithm_type: Literal["dpmsolver", "dpmsolver++"] = "dpmsolver++"


class UniPCOptions(SolverOptions):
    """variant: B(h) of the paper's section 3. lower_order_final: whether the last steps fall in order."""

    variant: Literal["bh1", "bh2"] = "bh2"
    prediction: Literal["data", "noise"] = "data"
    lower_order_final: bool = True


class DEISOptions(SolverOptions):
    """quadrature: exact by default; "th_deis" and "diff-sampler" are the 10 000-point sums of those codes."""

    quadrature: Literal["gauss-legendre", "th_deis", "diff-sampler"] = "gauss-legendre"


class PNDMOptions(SolverOptions):
    """integer_labels: on a discrete path, round the midpoint's transfer down to a label, as the authors' code."""

    integer_labels: bool = False


class IPNDMOptions(SolverOptions):
    max_order: int = Field(4, ge=1, le=4)


class AdaptiveOptions(Options):
    """Dormand-Prince with one error control per sample; rtol = atol = tolerance."""

    tolerance: float = Field(1e-5, gt=0)
