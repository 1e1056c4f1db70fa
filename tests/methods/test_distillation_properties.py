"""What holds for every method that trains: charged, repeatable, resumable, a frozen teacher, the exact NFE."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.training import loop as training
from fewstep.bench.training.loop import DivergedError
from fewstep.methods import registry
from fewstep.methods.denoiser import Guided, metered
from fewstep.methods.ema import ema
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPLinear
from fewstep.methods.randomness import noise
from fewstep.methods.solvers.base import Run
from fewstep.methods.solvers.euler import euler
from fewstep.methods.solvers.heun import heun
from fewstep.methods.specs.heun import HeunOptions
from fewstep.methods.specs.solver import SolverOptions
from fewstep.tests.methods import killing

EXACT = {"rtol": 1e-6, "atol": 1e-9}
PATHS = {"vp_linear": VPLinear(), "vp_cosine": VPCosine(), "edm": EDM(), "flow": FlowOT()}
TRAINED = registry.of_kind("learned solver", "student")
SHORT = {
    "bespoke": {"trajectories": 8, "nodes": 9, "tolerance": 1e-3},
    "d-ode": {"scale": 8},
    "iia": {"substeps": 10},
}
"""Options that make a run of seconds where the defaults do not; a batch of 8 for every method that has one. With two
substeps the products of IIA's fit, which are no network's, are more than half a percent beside a tiny network."""
DATA_FREE = {
    "bespoke", "knowledge", "rectified-flow", "boot", "dfno", "sim", "sid", "diff-instruct", "dmd", "d-ode", "iia",
}  # fmt: skip
BUDGET = 1000.0


def options_of(spec):
    batch = {"batch": 8} if "batch" in spec.options.model_fields else {}
    return spec.options(**batch, **SHORT.get(spec.name, {}))


def reachable(spec, limit=8):
    return [nfe for nfe in range(1, limit + 1) if spec.refusal(nfe, options_of(spec)) is None]


def build(spec, seed=0, nfe=None, teacher=None):
    per_nfe = {"nfe": nfe or reachable(spec)[-1]} if spec.per_nfe else {}
    return spec.load()(teacher or killing.small_teacher(), options_of(spec), seed=seed, **per_nfe)


def optimisers(method):
    configured = method.configure_optimizers()
    return list(configured) if isinstance(configured, (list, tuple)) else [configured]


@pytest.fixture(params=TRAINED.values(), ids=TRAINED)
def spec(request):
    return request.param


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """spec -> (trained method, its ledger), made once."""
    runs = {}

    def run(spec):
        if spec.name not in runs:
            method = build(spec)
            runs[spec.name] = method, killing.train(method, BUDGET, tmp_path_factory.mktemp(spec.name))
        return runs[spec.name]

    return run


def test_the_ledger_is_a_flop_counter_around_the_whole_run(spec, tmp_path):
    """G-5: every network's forwards and backwards, of every kind of step, booked once and within the budget."""
    with FlopCounterMode(display=False) as counter:
        ledger = killing.train(build(spec), BUDGET, tmp_path)
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert sum(ledger.uses.values()) == pytest.approx(ledger.flops)
    assert 0 < ledger.evaluations <= BUDGET


def test_training_changes_what_is_trained_and_nothing_else(spec, undisturbed):
    """M-1: the teacher keeps its weights and gets no gradient; nor does anything that no optimiser holds."""
    method, _ = undisturbed(spec)
    untrained = build(spec)
    given = untrained.teacher.state_dict()
    assert all(torch.equal(value, given[key]) for key, value in method.teacher.state_dict().items())
    assert all(p.grad is None for p in method.teacher.parameters())
    held = {
        name
        for optimiser in optimisers(untrained)
        for group in optimiser.param_groups
        for p in group["params"]
        for name, own in untrained.named_parameters()
        if own is p
    }
    assert all(p.grad is None for name, p in method.named_parameters() if name not in held)
    before, after = untrained.result().state_dict(), method.result().state_dict()
    assert any(not torch.equal(after[key], value) for key, value in before.items())
    assert all(value.isfinite().all() for value in after.values())


def test_the_teacher_is_neither_saved_nor_put_in_training_mode(spec):
    method = build(spec).train()
    assert not any(key.split(".")[0] == "teacher" for key in method.state_dict())
    assert not method.teacher.training
    assert not {id(p) for p in method.parameters()} & {id(p) for p in method.teacher.parameters()}


def test_another_seed_is_another_run(spec, undisturbed, tmp_path):
    """M-2: that the same seed is the same run, the next test shows."""
    other = build(spec, seed=1)
    killing.train(other, BUDGET, tmp_path)
    assert not killing.same(other, undisturbed(spec)[0])


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_a_killed_run_resumed_equals_an_undisturbed_one(spec, undisturbed, tmp_path, monkeypatch, share):
    """M-2: wherever it was killed, its schedule, stage and ledger go on."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    method, expected = undisturbed(spec)
    with pytest.raises(killing.Killed):
        killing.train(build(spec), BUDGET, tmp_path, kill=max(1, int(share * expected.steps)))
    resumed = build(spec)
    ledger = killing.train(resumed, BUDGET, tmp_path)
    assert killing.same(resumed, method)
    assert (ledger.flops, ledger.images, ledger.steps) == (expected.flops, expected.images, expected.steps)
    assert ledger.uses == expected.uses


def test_on_a_guided_conditional_teacher_too(spec, tmp_path, monkeypatch):
    """Where the registry says that labels are learned from: they are in the checkpoint, or come again."""
    if not spec.conditional:
        pytest.skip("trains without labels: refused beside a conditional teacher")
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    def conditional():
        return build(spec, teacher=Guided(killing.small_teacher(classes=8), 1.5))

    undisturbed, resumed = conditional(), conditional()
    expected = killing.train(undisturbed, BUDGET, tmp_path / "a")
    with pytest.raises(killing.Killed):
        killing.train(conditional(), BUDGET, tmp_path / "b", kill=max(1, expected.steps // 2))
    ledger = killing.train(resumed, BUDGET, tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert ledger.uses == expected.uses


class NoData:
    """A data set that has nothing to give: whoever uses it gets NaN."""

    name, shape, classes = "nothing", (2,), 0

    def __len__(self):
        return 100

    def samples(self, indices):
        return torch.full((len(indices), 2), math.nan)

    def labels(self, indices):
        return None


def test_only_methods_that_need_data_read_it(spec, undisturbed, tmp_path):
    """M-4."""
    method = build(spec)
    if spec.name in DATA_FREE:
        killing.train(method, BUDGET, tmp_path, data=NoData())
        assert killing.same(method, undisturbed(spec)[0])
    else:
        with pytest.raises(DivergedError):
            killing.train(method, BUDGET, tmp_path, data=NoData())


def test_sampling_takes_exactly_the_evaluations_asked_for(spec, undisturbed, tmp_path):
    """M-5: counted for every NFE that the method reaches; the others are refused with the registry's reason."""
    start = noise(0, "start", range(5), (2,))
    assert reachable(spec)
    for nfe in (1, 2, 3, 4, 8):
        if nfe not in reachable(spec):
            with pytest.raises(UnreachableNFE):
                build(spec, nfe=nfe).sample(start, nfe)
            continue
        method = undisturbed(spec)[0]
        if spec.per_nfe:
            method = build(spec, nfe=nfe)
            killing.train(method, BUDGET, tmp_path / str(nfe))
        with metered() as meter:
            x0 = method.sample(start, nfe, draws=lambda j: noise(0, f"draw-{j}", range(5), (2,)))
        assert meter.evaluations == nfe * 5
        assert x0.shape == start.shape
        assert x0.isfinite().all()


def test_reference_gaussian_denoiser_and_ddim_step(reference, toy_gaussian):
    """G-1 and the DDIM step, on four paths."""
    arrays = reference("distill/gaussian_exact")
    found = [name for name in PATHS if f"{name}_t" in arrays]
    assert found
    for name in found:
        path, x, t, s = PATHS[name], arrays[f"{name}_x_t"], arrays[f"{name}_t"], arrays[f"{name}_t_mid"]
        x0 = toy_gaussian(path)(x, t)
        torch.testing.assert_close(x0, arrays[f"{name}_denoised"], **EXACT)
        torch.testing.assert_close(path.ddim_step(x, x0, t, s), arrays[f"{name}_ddim_to_mid"], **EXACT)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_reference_ddim_is_euler_on_the_rescaled_state(path, toy, toy_mixture):
    """G-2: xbar_s = xbar_t + (sbar_s - sbar_t)(xbar_t - D)/sbar_t, with xbar = x/alpha, sbar = sigma/alpha."""
    denoiser = toy_mixture(path)
    t, s = (torch.linspace(*ends, 8, dtype=torch.float64) for ends in ((0.3, 0.9), (0.1, 0.8)))
    x = path.noisy(toy["x0"], toy["noise"], t)
    x0 = denoiser(x, t)
    own = path.ddim_step(x, x0, t, s)
    alpha_t, alpha_s, sbar_t, sbar_s = (
        c.reshape(-1, 1, 1, 1) for c in (path.alpha(t), path.alpha(s), path.noise_level(t), path.noise_level(s))
    )
    rescaled = x / alpha_t + (sbar_s - sbar_t) * (x / alpha_t - x0) / sbar_t
    torch.testing.assert_close(own / alpha_s, rescaled, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("solve", "options", "order"), [(euler, SolverOptions(), 1), (heun, HeunOptions(), 2)])
def test_reference_solvers_converge_to_the_exact_map_of_a_gaussian(reference, toy_gaussian, solve, options, order):
    """G-3: DDIM with order 1, Heun with order 2, each sample over its own interval."""
    arrays = reference("distill/gaussian_exact")
    found = [name for name in PATHS if f"{name}_x_end_exact" in arrays]
    assert found
    for name in found:
        path, x, t, s = PATHS[name], arrays[f"{name}_x_t"], arrays[f"{name}_t"], arrays[f"{name}_t_end"]

        def error(steps, path=path, x=x, t=t, s=s, exact=arrays[f"{name}_x_end_exact"]):
            u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[:, None]
            first, last = (path.noise_level(end) ** (1 / 7) for end in (t, s))
            times = path.time_at((first + u * (last - first)) ** 7)
            out = solve(Run.over(toy_gaussian(path), times, x, options), x)
            return float((out - exact).square().mean().sqrt())

        assert math.log2(error(100) / error(200)) == pytest.approx(order, abs=0.2)


def test_reference_plain_ema(reference):
    """G-4: p <- m p + (1 - m) q."""
    arrays = reference("distill/ema")
    found = [key for key in arrays.names if key.startswith("plain_ema_m")]
    assert found
    for key in found:
        update, p = ema(float(key.removeprefix("plain_ema_m"))), [arrays["init"].clone()]
        for k, q in enumerate(arrays["sequence"]):
            update(p, [q], k)
            torch.testing.assert_close(p[0], arrays[key][k], rtol=1e-12, atol=1e-12)
