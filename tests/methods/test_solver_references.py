"""Every training-free solver against its authors' own trajectories; see tests/reference/solvers/README.md."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from fewstep.methods import solvers
from fewstep.methods.denoiser import metered
from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPDiscrete, VPLinear
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.solver import Grid

SPACING = {
    "logSNR": "log-snr",
    "time_uniform": "uniform",
    "time_quadratic": "quadratic",
    "t1": "uniform",
    "t2": "quadratic",
    "rho7": "karras",
    "log1": "log-snr",
}
TABLEAUX = {"1euler": "euler", "2heun": "heun", "3kutta": "kutta3", "3heun": "heun3", "4rk": "rk4"}
DIFF_SAMPLER_LEVELS = (0.002, 80.0)


@dataclass
class Case:
    """How an entry is run: the solver, its options, the path, and times or an NFE.

    start: the state at the first node over x_T. Where it is None the entry is one in EDM's state x/alpha.
    """

    name: str
    options: dict[str, Any]
    path: Any
    times: Any = None
    nfe: int | None = None
    start: float | None = None


@pytest.fixture
def matches(reference, problem, laws):
    """(file, case_of) asserts equality for every entry for which case_of(key, meta, arrays) returns a Case."""

    def check(file, case_of):
        arrays = reference(f"solvers/{file}")
        found = 0
        for key, meta in arrays.meta.items():
            case = case_of(key, meta, arrays)
            if case is None:
                continue
            found += 1
            first = case.path.sigma(case.path.t_max if case.times is None else case.times[0])
            noise = problem["x_T"] * (1.0 if case.start is None else case.start / first)
            with metered() as meter:
                x = solvers.get(case.name, **case.options).sample(
                    laws("gauss" if key.startswith("gauss/") else "gmm", case.path),
                    noise,
                    nfe=case.nfe,
                    times=case.times,
                    draws=lambda j: problem["noise"][j],
                )
            if case.start is None:
                x = x / case.path.alpha(case.path.t_min if case.times is None else case.times[-1])
            expected = arrays[f"{key}/x"]
            deviation = float((x - expected).abs().max()) / max(1.0, float(expected.abs().max()))
            assert deviation <= 1e-6, f"{key}: {deviation:.1e}"
            assert meter.evaluations == len(x) * meta.get("nfe", case.nfe), key
        assert found, f"no entry of {file} was tested"

    return check


def test_reference_dpm_solver(matches):
    def case(key, meta, arrays):
        _, algorithm, method, *_ = key.split("/")
        if method == "adaptive":
            return None
        options = {"grid": Grid(spacing=SPACING[meta["skip_type"]], end="min"), "algorithm_type": algorithm}
        options |= {"solver_type": meta["solver_type"]} if "solver_type" in meta else {}
        options |= {"thresholding": 0.4} if method.endswith("_thr") else {}
        options |= {"denoise_to_zero": True} if method.endswith("_d0") else {}
        options |= {"lower_order_final": False} if method.endswith("_nolof") else {}
        name = f"dpmpp-{meta['order']}m"
        if method.startswith("singlestep"):
            name = f"dpm-solver-{meta['order']}"
            options["method"] = "singlestep_fixed" if method.endswith("_fixed") else "singlestep"
        return Case(name, options, VPLinear(), nfe=meta["nfe"], start=1.0)

    matches("vp_dpm_solver", case)


def test_reference_dpm_solver_fast_is_singlestep_of_order_3(matches):
    def case(key, meta, arrays):
        if "/dpmsolver/singlestep/o3/" not in key:
            return None
        grid = Grid(spacing=SPACING[meta["skip_type"]], end="min")
        return Case("dpm-solver-fast", {"grid": grid}, VPLinear(), nfe=meta["nfe"], start=1.0)

    matches("vp_dpm_solver", case)


def test_reference_unipc(matches):
    """Without vary_coeff, which is of order 1 in the authors' code whatever the order asked for."""

    def case(key, meta, arrays):
        _, prediction, variant, order, skip, _ = key.split("/")
        if variant == "vary_coeff":
            return None
        options = {
            "grid": Grid(spacing=SPACING[skip], end="min"),
            "variant": variant.removesuffix("_nolof"),
            "prediction": prediction.removesuffix("_prediction"),
            "lower_order_final": not variant.endswith("_nolof"),
        }
        return Case(f"unipc-{order[1:]}", options, VPLinear(), nfe=meta["nfe"], start=1.0)

    matches("vp_unipc", case)


def deis_case(key, meta, arrays, quadrature):
    method = meta["method"]
    name, options = f"deis-{method.replace('_', '')}", {"quadrature": quadrature}
    if method == "ipndm":
        name, options = "ipndm", {}
    elif method == "rho_rk":
        name, options = "runge-kutta", {"tableau": TABLEAUX[meta["rk_method"]], "variable": "rho"}
    else:
        name += str(meta["ab_order"])
    return Case(name, options, VPLinear(), times=arrays[f"{key}/grid"], start=1.0)


def test_reference_deis_with_its_own_quadrature(matches):
    matches("vp_deis", lambda *entry: deis_case(*entry, "th_deis"))


def test_reference_discrete_ddim_and_ddpm(matches):
    path = VPDiscrete()

    def case(key, meta, arrays):
        kind = key.split("/")[0]
        if kind not in ("ddim", "ddpm"):
            return None
        grid = torch.cat([path.time_of_label(arrays[f"{key}/seq"].double().flip(0)), torch.zeros(1)])
        return Case(kind, {"eta": meta["eta"]} if kind == "ddim" else {}, path, times=grid, start=1.0)

    matches("vp_discrete", case)


def test_reference_discrete_pndm(matches):
    """The PNDM code's state called label n has alphabar_{n+1}, and it rounds half labels down in the transfer."""
    path = VPDiscrete()
    of = {
        "DDIM": ("ddim", {}),
        "S-PNDM": ("s-pndm", {}),
        "F-PNDM": ("f-pndm", {"integer_labels": True}),
        "FON": None,
    }

    def case(key, meta, arrays):
        kind, method, *_ = key.split("/")
        if kind != "pndm" or of[method] is None:
            return None
        labels = torch.cat([arrays[f"{key}/seq"].double().flip(0) + 1, torch.zeros(1)])
        return Case(*of[method], path, times=path.time_of_label(labels), start=1.0)

    matches("vp_discrete", case)


def test_reference_discrete_dpm_solver_and_unipc(matches):
    def case(key, meta, arrays):
        if key.split("/")[0] not in ("unipc_discrete", "dpm_discrete"):
            return None
        kind, *method, order, skip, steps = key.split("/")
        if kind == "unipc_discrete":
            name, options = f"unipc-{order[1:]}", {"variant": method[0]}
        elif method[1] == "multistep":
            name, options = f"dpmpp-{order[1:]}m", {"algorithm_type": method[0]}
        else:
            name, options = f"dpm-solver-{order[1:]}", {"algorithm_type": method[0], "method": method[1]}
        options["grid"] = Grid(spacing=SPACING[skip], end="min")
        return Case(name, options, VPDiscrete(), nfe=int(steps[1:]), start=1.0)

    matches("vp_discrete", case)


def test_reference_edm_samplers(matches):
    def case(key, meta, arrays):
        kind = key.split("/")[1]
        if kind.startswith("abl_"):
            return None
        options = {
            name: float(meta[name]) for name in ("S_churn", "S_min", "S_max", "S_noise", "alpha") if name in meta
        }
        grid = times(Grid(end="append-zero"), EDM(), meta["num_steps"])
        return Case("euler" if kind == "euler" else "heun", options, EDM(), times=grid)

    matches("edm_official", case)


def test_reference_k_diffusion(matches):
    """Their euler_ancestral is DDIM with eta 1 and lms4 is rhoAB of degree 3. Not here: the other SDE variants."""
    of = {
        "euler": ("euler", {}),
        "euler_ancestral": ("ddim", {"eta": 1.0}),
        "lms4": ("deis-rhoab3", {}),
        "dpmpp_2m": ("dpmpp-2m", {}),
        "dpmpp_2m_sde_eta0": ("dpmpp-2m", {}),
        "dpm_2": ("dpm-solver-2", {}),
    }

    def case(key, meta, arrays):
        name = key.split("/")[1]
        if name == "dpm_fast":
            grid = Grid(spacing="log-snr", end="min")
            return Case("dpm-solver-fast", {"grid": grid}, EDM(), nfe=meta["nfe"])
        return Case(*of[name], EDM(), times=arrays[f"{key}/sigmas"]) if name in of else None

    matches("ve_k_diffusion", case)


def diff_sampler_solver(kind, meta):
    """(name, options) of a diff-sampler entry; None for ipndm_v of order 3 and 4, which misplaces a parenthesis."""
    points = int(meta.get("max_order", 1))
    family = kind.split("_o")[0].removesuffix("_d0").removesuffix("_afs")
    if family in ("euler", "heun"):
        return family, {}
    if family == "dpm2":
        return "dpm-solver-2", {}
    if family == "ipndm":
        return "ipndm", {"max_order": points}
    if family == "ipndm_v":
        return None if points > 2 else ("ipndm-v", {"max_order": points})
    data = meta.get("predict_x0") == "True"
    if family == "dpmpp":
        options = {"algorithm_type": "dpmsolver++" if data else "dpmsolver", "lower_order_final": "always"}
        return "dpmpp-1" if points == 1 else f"dpmpp-{points}m", options
    if family.startswith("unipc"):
        return f"unipc-{points}", {"variant": meta["variant"], "prediction": "data" if data else "noise"}
    if family == "deis_rhoab":
        return f"deis-rhoab{points - 1}", {}
    assert family == "deis_tab", kind
    return f"deis-tab{points - 1}", {"quadrature": "diff-sampler"}


def test_reference_diff_sampler(matches):
    def case(key, meta, arrays):
        found = diff_sampler_solver(key.split("/")[1], meta)
        if found is None:
            return None
        name, options = found
        options |= {"afs": True} if meta["afs"] else {}
        options |= {"denoise_to_zero": True, "grid": Grid(end="min")} if meta["denoise_to_zero"] else {}
        options |= {"thresholding": 1.0} if meta["thresholding"] else {}
        grid = arrays[f"{key}/grid"]
        # Its tAB interpolates in the time of the VP path with the same ends.
        path = VPLinear.between(*DIFF_SAMPLER_LEVELS) if name.startswith("deis-tab") else EDM()
        return Case(name, options, path, times=path.time_at(grid))

    matches("ve_diff_sampler", case)


def test_reference_diff_sampler_deis_from_a_suite(reference, problem, laws):
    """Its grids even in the VP time that it fits, in words that a suite has; the path keeps x/alpha."""
    arrays, found = reference("solvers/ve_diff_sampler"), 0
    for key, meta in arrays.meta.items():
        if "/deis_tab" not in key or meta["schedule_type"] != "time_uniform" or meta["afs"] or meta["denoise_to_zero"]:
            continue
        found += 1
        spacing = "quadratic" if meta["schedule_rho"] == 2 else "uniform"
        solver = solvers.get(
            f"deis-tab{int(meta['max_order']) - 1}",
            path="vp-linear-fitted",
            grid=Grid(spacing=spacing, end="min"),
            quadrature="diff-sampler",
        )
        x = solver.sample(laws(key.split("/")[0], EDM(*DIFF_SAMPLER_LEVELS)), problem["x_T"], nfe=meta["nfe"])
        y = x / VPLinear.between(*DIFF_SAMPLER_LEVELS).alpha(1e-3)
        torch.testing.assert_close(y, arrays[f"{key}/x"], rtol=1e-6, atol=1e-6)
    assert found


def test_reference_flow_matching(matches):
    paths = {"ot": FlowOT(), "cosine": FlowCosine(), "vp": VPLinear()}

    def case(key, meta, arrays):
        path, method, *_ = key.split("/")
        if path == "transform":
            return None
        name, options = ("rk4", {}) if method == "rk4" else ("runge-kutta", {"tableau": method})
        return Case(name, options, paths[path], times=1 - arrays[f"{key}/grid"], start=1.0)

    matches("flow_matching", case)


def test_reference_flow_matching_euler_on_straight_lines_is_ddim(matches):
    def case(key, meta, arrays):
        return Case("ddim", {}, FlowOT(), times=1 - arrays[f"{key}/grid"]) if key.startswith("ot/euler/") else None

    matches("flow_matching", case)
