"""DDPM and DDIM with noise: DDIM's sigma-hat, and a variance that the network says."""

import math

import pytest
import torch
from torch import nn

from fewstep.methods import solvers
from fewstep.methods.denoiser import Clipped, Conditioned, Guided, NetworkDenoiser, metered
from fewstep.methods.paths import EDM, FlowOT, VPDiscrete, VPLinear
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.solver import Grid
from fewstep.methods.teachers.forms.base import Label
from fewstep.methods.teachers.preconditioned import denoiser
from fewstep.methods.teachers.pretrained import Pretrained

PATHS = pytest.mark.parametrize(
    "path", [VPLinear(), VPDiscrete(), EDM(0.01, 80.0), FlowOT()], ids=lambda path: type(path).__name__
)
LABELS = {"spacing": "ddim-uniform"}


def chain(path, steps):
    return path.time_at(times(Grid(noise_min=0.05, noise_max=40.0, end="append-zero"), EDM(), steps))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@PATHS
def test_sigma_hat_is_ddpm_with_beta_and_without_clipping(path, toy_mixture):
    noise = normal(3, 3, 4, 4)
    ddim = solvers.get("ddim", eta="sigma-hat").sample(toy_mixture(path), noise, times=chain(path, 6))
    ddpm = solvers.get("ddpm", clip_x0=False).sample(toy_mixture(path), noise, times=chain(path, 6))
    torch.testing.assert_close(ddim, ddpm, rtol=0, atol=1e-10)


def test_sigma_hat_is_the_formula_of_the_appendix():
    """x_s = sqrt(abar_s) D + sqrt(1 - abar_s - sigma(1)^2) eps + sigma-hat z on two labels of the chain."""
    path, x, z = VPDiscrete(), normal(2, 3), normal(2, 3, seed=1)
    eps = normal(2, 3, seed=2)
    labels = torch.tensor([600.0, 300.0], dtype=torch.float64)
    t, s = path.time_of_label(labels)
    abar_t, abar_s = (float(path.alpha(u) ** 2) for u in (t, s))
    posterior = (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
    x0 = (x - math.sqrt(1 - abar_t) * eps) / math.sqrt(abar_t)
    expected = math.sqrt(abar_s) * x0 + math.sqrt(1 - abar_s - posterior) * eps + math.sqrt(1 - abar_t / abar_s) * z
    network = NetworkDenoiser(Says(eps), path, "eps")
    start = x / path.sigma(t)
    found = solvers.get("ddim", eta="sigma-hat").sample(network, start, times=[float(t), float(s)], draws=lambda j: z)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [-0.1, 1.5, "sigma", "sigma_hat", True])
def test_another_eta_is_refused(eta):
    with pytest.raises(ValueError, match="eta"):
        solvers.get("ddim", eta=eta)


class Says(nn.Module):
    """A network that says the same whatever it is asked."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x, t, condition):
        return self.output


class Wavy(nn.Module):
    """eps and v, any smooth functions of x, t and the label."""

    def forward(self, x, t, condition):
        t = t.to(x.dtype)[:, None] + (0.1 if condition is None else 0.3 * condition.to(x.dtype)[:, None])
        return torch.cat([torch.tanh(x + t), torch.sin(3 * x - 5 * t)], dim=1)


def respaced(betas, labels, x, draws, network, clip):
    """p_sample_loop of a respaced chain in Nichol & Dhariwal's letters: betas computed anew between kept labels,
    log sigma^2 = f log beta + (1 - f) log beta~, f = (v + 1)/2, and no noise at the first label.
    """
    abar = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)[labels]
    previous = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    for j, i in enumerate(reversed(range(len(labels)))):
        beta = 1 - abar[i] / previous[i]
        eps, v = network(x, torch.full_like(x[:, 0], (labels[i] + 1) / len(betas)), None).chunk(2, dim=1)
        x0 = (x - (1 - abar[i]).sqrt() * eps) / abar[i].sqrt()
        x0 = x0.clamp(-1, 1) if clip else x0
        mean = previous[i].sqrt() * beta / (1 - abar[i]) * x0
        mean = mean + (1 - beta).sqrt() * (1 - previous[i]) / (1 - abar[i]) * x
        if i > 0:
            posterior, f = beta * (1 - previous[i]) / (1 - abar[i]), (v + 1) / 2
            mean = mean + (0.5 * (f * beta.log() + (1 - f) * posterior.log())).exp() * draws(j)
        x = mean
    return x


OPENAI = {"250": lambda i: round(i * 999 / 249), "ddim25": lambda i: 40 * i, "ddim7": lambda i: 143 * i}
"""timestep_respacing -> its i-th label of 1000."""


@pytest.mark.parametrize("name", OPENAI)
def test_respaced_labels_are_openais(name):
    steps = int(name.removeprefix("ddim"))
    grid = Grid(spacing="respaced-ddim" if name.startswith("ddim") else "respaced")
    found = VPDiscrete().label(times(grid, VPDiscrete(), steps))
    expected = [OPENAI[name](i) for i in reversed(range(steps))]
    torch.testing.assert_close(found, torch.tensor([*expected, -1], dtype=torch.float64))


def test_no_stride_gives_some_numbers_of_steps():
    with pytest.raises(ValueError, match="no stride divides 1000 labels into 400 steps"):
        times(Grid(spacing="respaced-ddim"), VPDiscrete(), 400)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [5, 20])
def test_a_respaced_chain_with_a_learned_variance_is_the_papers(steps, clip):
    path, x = VPDiscrete(), normal(3, 4)
    noises = normal(20, 3, 4, seed=1)
    labels = [round(i * 999 / (steps - 1)) for i in range(steps)]
    wavy = NetworkDenoiser(Wavy(), path, "eps")
    start = x / path.sigma(path.time_of_label(labels[-1]))
    with metered() as meter:
        found = solvers.get("ddpm", variance="learned", clip_x0=clip, grid={"spacing": "respaced"}).sample(
            wavy, start, nfe=steps, draws=lambda j: noises[j]
        )
    assert meter.evaluations == meter.forwards == 3 * steps
    expected = respaced(path.betas, labels, x, lambda j: noises[j], Wavy(), clip)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_published_network_on_edms_path_says_its_variance_on_its_labels():
    """The chain's network under EDM's preconditioning, told its labels in its own unit."""
    path, x = VPDiscrete(), normal(3, 4)[:, :, None, None]
    noises = normal(5, 3, 4, 1, 1, seed=1)
    network = Told(lambda label: (label / 0.25 + 1) / 1000)
    pretrained = Pretrained(network, path, "eps", Label(path, 0.25), (4, 1, 1))
    solver = solvers.get("ddpm", variance="learned", clip_x0=True, grid={"spacing": "respaced"})
    start = x / path.sigma(path.time_of_label(999))
    found = solver.sample(denoiser(pretrained, 0.002, 80.0), start, nfe=5, draws=lambda j: noises[j])
    labels = [round(i * 999 / 4) for i in range(5)]
    expected = respaced(path.betas, labels, x[..., 0, 0], lambda j: noises[j][..., 0, 0], Wavy(), clip=True)
    torch.testing.assert_close(found[..., 0, 0], expected, rtol=1e-9, atol=1e-9)


class Told(nn.Module):
    """Wavy on images of one pixel, told a label of which `time_of` makes the path's t."""

    def __init__(self, time_of):
        super().__init__()
        self.time_of = time_of

    def forward(self, x, label, condition):
        return Wavy()(x[..., 0, 0], self.time_of(label), condition)[..., None, None]


def test_solvers_without_learned_variance_take_the_first_half_alone(toy_mixture):
    class Cut(Wavy):
        def forward(self, x, t, condition):
            return super().forward(x, t, condition)[:, :4]

    whole, half = NetworkDenoiser(Wavy(), VPDiscrete(), "eps"), NetworkDenoiser(Cut(), VPDiscrete(), "eps")
    for name, options in (("ddim", {}), ("ddpm", {"variance": "fixedsmall"}), ("dpmpp-2m", {}), ("ipndm", {})):
        solver = solvers.get(name, grid=LABELS, **options)
        assert torch.equal(solver.sample(whole, normal(2, 4), nfe=5), solver.sample(half, normal(2, 4), nfe=5))


class ExactGaussian(nn.Module):
    """D of data N(0, variance) on `path`, and the v for which a step to half the noise level is exactly the law's."""

    def __init__(self, variance, path, ratio):
        super().__init__()
        self.variance, self.path, self.ratio = variance, path, ratio

    def forward(self, x, t, condition):
        alpha, sigma = (part[:, None] for part in (self.path.alpha(t), self.path.sigma(t)))
        total = alpha**2 * self.variance + sigma**2
        s = self.path.time_at(self.path.noise_level(t) * self.ratio)
        alpha_s, sigma_s = (part[:, None] for part in (self.path.alpha(s), self.path.sigma(s)))
        forgotten = 1 - self.ratio**2
        exact = sigma_s**2 * forgotten + (alpha_s * forgotten) ** 2 * self.variance * sigma**2 / total
        small, large = sigma_s**2 * forgotten, sigma**2 * forgotten
        v = 2 * (exact / small).log() / (large / small).log() - 1
        return torch.cat([alpha * self.variance / total * x, v.expand_as(x)], dim=1)


def test_with_the_exact_variance_few_steps_have_the_datas_law():
    """A Gaussian's reverse steps are Gaussian, however long: their variance lies between the posterior's and beta."""
    path, variance, steps = VPLinear(), 0.3, 5
    ratio = (0.05 / 60.0) ** (1 / steps)
    grid = path.time_at(60.0 * ratio ** torch.arange(steps + 1, dtype=torch.float64))
    denoiser, rng = NetworkDenoiser(ExactGaussian(variance, path, ratio), path, "x0"), torch.Generator().manual_seed(1)

    def std(kind):
        x = solvers.get("ddpm", variance=kind, clip_x0=False, grid=LABELS).sample(
            denoiser, normal(100_000, 1), times=grid, draws=lambda j: torch.randn(100_000, 1, generator=rng).double()
        )
        return float(x.std())

    expected = float((path.alpha(grid[-1]) ** 2 * variance + path.sigma(grid[-1]) ** 2).sqrt())
    assert std("learned") == pytest.approx(expected, rel=0.01)
    assert std("fixedlarge") > 1.1 * expected
    assert std("fixedsmall") < 0.9 * expected


def test_wrappers_pass_the_variance_on():
    inner, x, t = NetworkDenoiser(Wavy(), VPDiscrete(), "eps"), normal(3, 4), torch.tensor(0.4, dtype=torch.float64)
    label = torch.tensor([0, 1, 2])
    x0, share = inner.moments(x, t, label)
    assert torch.equal(x0, inner(x, t, label))
    clipped = Clipped(inner, 0.5).moments(x, t, label)
    torch.testing.assert_close(clipped, (x0.clamp(-0.5, 0.5), share))
    torch.testing.assert_close(Conditioned(inner, label).moments(x, t), (x0, share))
    guided = Guided(inner, 2.0)
    torch.testing.assert_close(guided.moments(x, t, label), (guided(x, t, label), share))
    level = inner.path.noise_level(t)
    y = x * float(1 / inner.path.alpha(t))
    torch.testing.assert_close(inner.on(EDM()).moments(y, level, label), (x0, share), rtol=1e-6, atol=1e-6)
    with metered() as meter:
        guided.moments(x, t, label)
    assert (meter.evaluations, meter.forwards) == (3, 6)


def test_a_network_without_a_variance_is_refused(toy_mixture):
    solver = solvers.get("ddpm", variance="learned", grid=LABELS)
    silent = NetworkDenoiser(Says(normal(1, 4)), VPDiscrete(), "eps")
    for teacher, x in ((toy_mixture(VPDiscrete()), normal(1, 3, 4, 4)), (silent, normal(1, 4))):
        with pytest.raises(ValueError, match="no variance is learned here"):
            solver.sample(teacher, x, nfe=5)
    with pytest.raises(ValueError, match="afs spares the first evaluation"):
        solvers.get("ddpm", variance="learned", grid=LABELS, afs=True)
    with pytest.raises(ValueError, match="a chain of labels"):
        solvers.get("ddpm", variance="learned")
