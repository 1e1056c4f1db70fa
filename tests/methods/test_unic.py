"""UniC after any multistep solver, and steps whose orders are given one by one."""

import pytest
import torch

from fewstep.bench.benchmarks.solver_orders import ORDERS, order
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import Denoiser, from_function, metered
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowOT, VPLinear
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.solver import Grid


class PolynomialEps(Denoiser):
    """eps = 1 + u/2 - u^2/3 in the variable u(t), whatever x is."""

    def __init__(self, path, variable):
        super().__init__(path)
        self.variable = variable

    def denoise(self, x, t, condition):
        u = self.variable(t)
        return self.path.x0_from_eps(x, (1 + u / 2 - u**2 / 3).expand_as(x), t)


LOG_SNR = Grid(spacing="log-snr", end="min")
PATHS = pytest.mark.parametrize(
    ("path", "grid"), [(VPLinear(), LOG_SNR), (EDM(), Grid()), (EDM(), Grid(end="append-zero"))], ids=str
)
CORRECTED = ["dpmpp-1", "dpmpp-2m", "dpmpp-3m", "deis-tab1", "deis-tab3", "deis-rhoab2", "ipndm", "ipndm-v"]


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize(("data", "algorithm"), [("data", "dpmsolver++"), ("noise", "dpmsolver")])
@pytest.mark.parametrize(("name", "unipc"), [("dpmpp-1", "unipc-1"), ("dpmpp-2m", "unipc-2")])
@PATHS
def test_unic_after_unip_is_unipc(path, grid, name, unipc, data, algorithm, variant, laws, problem):
    """DPM-Solver++(2M) is UniP-2 with B_2, and DDIM UniP-1 with either."""
    if (name, variant) == ("dpmpp-2m", "bh1"):
        pytest.skip("UniP-2 with B_1 is no other solver")
    options = {"grid": grid, "algorithm_type": algorithm, "lower_order_final": "always"}
    solver = solvers.get(name, corrector=f"unic-{variant}", **options)
    whole = solvers.get(unipc, grid=grid, prediction=data, variant=variant)
    x, denoiser = problem["x_T"], laws("gmm", path)
    torch.testing.assert_close(
        solver.sample(denoiser, x, nfe=7), whole.sample(denoiser, x, nfe=7), rtol=1e-9, atol=1e-9
    )
    alone = solvers.get(unipc, grid=grid, prediction=data, variant=variant, corrector="none")
    torch.testing.assert_close(
        alone.sample(denoiser, x, nfe=7),
        solvers.get(name, **options).sample(denoiser, x, nfe=7),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("dpmpp-1", "bh1", 2),
        ("dpmpp-2m", "bh2", 3),
        ("deis-tab1", "bh1", 3),
        ("deis-rhoab1", "bh2", 3),
        ("deis-rhoab2", "bh1", 4),
    ],
)
def test_unic_raises_the_order_by_one(name, variant, expected):
    """Theorem 3.1: of a solver of order p, UniC-p makes one of order p + 1."""
    assert ORDERS[name] == expected - 1
    lowered = {"lower_order_final": False} if name.startswith("dpmpp") else {}
    assert order(name, "gaussian", 192, corrector=f"unic-{variant}", **lowered) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("name", CORRECTED)
@PATHS
def test_unic_takes_no_evaluation_and_changes_the_samples(path, grid, name, laws, problem):
    plain, corrected = solvers.get(name, grid=grid), solvers.get(name, grid=grid, corrector="unic-bh2")
    x, denoiser = problem["x_T"], laws("gmm", path)
    with metered() as meter:
        found = corrected.sample(denoiser, x, nfe=6)
    assert meter.evaluations == 6 * len(x)
    assert float((found - plain.sample(denoiser, x, nfe=6)).abs().max()) > 1e-4
    # After one evaluation there is nothing to correct.
    assert torch.equal(corrected.sample(denoiser, x, nfe=1), plain.sample(denoiser, x, nfe=1))


@pytest.mark.parametrize("name", ["dpmpp-2m", "deis-tab2", "ipndm"])
def test_a_step_from_pure_noise_is_not_corrected(name, laws, problem):
    solver = solvers.get(name, corrector="unic-bh2", grid={"spacing": "uniform"})
    assert solver.sample(laws("gmm", FlowOT()), problem["x_T"], nfe=8).isfinite().all()


ORDERED = {
    "unipc-3": ("unipc-1", "unipc-2"),
    "dpmpp-3m": ("dpmpp-1", "dpmpp-2m"),
    "deis-tab2": (None, "deis-tab1"),
    "deis-rhoab2": (None, "deis-rhoab1"),
}


@pytest.mark.parametrize("name", ORDERED)
def test_the_orders_of_a_solver_given_one_by_one_are_that_solver(name, laws, problem):
    """Whatever the solver's own order is; DEIS of degree r has the order r + 1."""
    first, second = ORDERED[name]
    x, denoiser = problem["x_T"], laws("gmm", VPLinear())
    never = {"lower_order_final": False} if name.startswith(("unipc", "dpmpp")) else {}
    for other, orders in ((first, (1,) * 6), (second, (1, 2, 2, 2, 2, 2)), (name, (1, 2, 3, 3, 3, 3))):
        if other is not None:
            expected = solvers.get(other, grid=LOG_SNR, **never).sample(denoiser, x, nfe=6)
            found = solvers.get(name, grid=LOG_SNR, orders=orders).sample(denoiser, x, nfe=6)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["unipc-2", "deis-tab1", "deis-rhoab3"])
def test_a_rising_schedule_is_exact_for_eps_of_as_high_a_degree(name):
    """With eps a polynomial of degree 2 in t, rho or lambda, steps of order 3 and more make no error of their own:
    all that is left is what the first two steps made.
    """
    path, grid = VPLinear(), times(Grid(spacing="log-snr", end="min", noise_max=2.0, noise_min=0.1), VPLinear(), 6)
    variable = {"unipc-2": path.half_log_snr, "deis-tab1": lambda t: t, "deis-rhoab3": path.noise_level}[name]
    given = {"prediction": "noise", "corrector": "none"} if name == "unipc-2" else {}
    polynomial = PolynomialEps(path, variable)
    x = torch.ones(1, 1, dtype=torch.float64)
    ends = [
        solvers.get(name, orders=orders, **given).sample(polynomial, x, times=grid)
        for orders in ((1, 2, 3, 3, 3, 3), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 3, 4))
    ]
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-9)
    torch.testing.assert_close(ends[0], ends[2], rtol=0, atol=1e-9)
    lower = solvers.get(name, orders=(1, 2, 2, 2, 2, 2), **given).sample(polynomial, x, times=grid)
    assert float((ends[0] - lower).abs().max()) > 1e-4


def test_orders_have_one_nfe():
    spec = registry.method("unipc-3")
    options = spec.options.model_validate({"orders": [1, 2, 3, 4, 3]})
    assert spec.refusal(5, options) is None
    assert spec.refusal(6, options) == "the option orders lists 5 steps, not 6"
    with pytest.raises(UnreachableNFE, match="lists 5 steps, not 2"):
        solvers.get("unipc-3", orders=[1, 2, 3, 4, 3]).sample(
            from_function(lambda x, t: x, EDM()), torch.ones(1, 2), times=[10.0, 1.0, 0.0]
        )


@pytest.mark.parametrize(
    ("name", "orders", "message"),
    [
        ("unipc-3", [1, 3], "step 2 can have orders 1 to 2, not 3"),
        ("unipc-3", [2], "step 1 can have orders 1 to 1, not 2"),
        ("dpmpp-2m", [1, 2, 3, 4], "step 4 can have orders 1 to 3, not 4"),
        ("deis-tab3", [1, 0], "step 2 can have orders 1 to 2, not 0"),
        ("deis-tab3", [], "give the order of each step"),
    ],
)
def test_orders_that_no_step_can_have_are_refused(name, orders, message):
    with pytest.raises(ValueError, match=message):
        solvers.get(name, orders=orders)
