"""Samplers of networks that others distilled, against the formulas written out, and against diffusers' schedulers."""

import itertools
import math

import pytest
import torch
from torch import nn

from fewstep.methods.denoiser import EDMDenoiser, NetworkDenoiser, metered
from fewstep.methods.elsewhere.ground_truth import GroundTruth
from fewstep.methods.elsewhere.released import Released, distilled_labels, sim_label, trailing_labels
from fewstep.methods.elsewhere.student import Student
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, VPCosine, VPDiscrete
from fewstep.methods.solvers.rk45 import AdaptiveSolver
from fewstep.methods.specs.ground_truth import GroundTruthOptions
from fewstep.methods.specs.released import ReleasedOptions
from fewstep.methods.specs.student import StudentRowOptions
from fewstep.methods.specs.teachers.checkpoint import CheckpointOptions
from fewstep.methods.teachers import checkpoint, forms
from fewstep.methods.teachers.analytic import GaussianDenoiser
from fewstep.tests.methods.published import write

SHAPE = (4, 2, 3, 3)


class Smooth(nn.Module):
    """A network without a paper: F(x, time)."""

    def forward(self, x, time, condition=None):
        return 4 * torch.sin(2 * x + time.reshape(-1, 1, 1, 1).to(x) / 700)


def unit(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draws(j):
    return unit(100 + j)


def consistency(**options):
    network = EDMDenoiser(Smooth(), 0.5, EDM(0.002, 80.0))
    return Student(network, StudentRowOptions(kind="consistency", **options))


def f(x, sigma):
    """c_skip x + c_out F(c_in x, ln(sigma)/4) with the boundary at 0.002 (Song et al. 2023, appendix C)."""
    c_skip = 0.25 / ((sigma - 0.002) ** 2 + 0.25)
    c_out = (sigma - 0.002) * 0.5 / math.sqrt(sigma**2 + 0.25)
    time = torch.full((len(x),), math.log(sigma) / 4, dtype=torch.float64)
    return c_skip * x + c_out * Smooth()(x / math.sqrt(sigma**2 + 0.25), time)


@pytest.mark.parametrize("clip", [True, False])
def test_a_consistency_model_jumps_is_noised_and_jumps_again(clip):
    z, most = unit(0), 1.0 if clip else math.inf
    first = f(80 * z, 80.0).clamp(-most, most)
    expected = f(first + math.sqrt(1.5**2 - 0.002**2) * draws(0), 1.5).clamp(-most, most)
    student = consistency(levels=(80.0, 1.5), clip_x0=clip)
    torch.testing.assert_close(student.sample(z, 2, draws=draws), expected)
    torch.testing.assert_close(student.sample(z, 1), first)


def test_its_outputs_are_clipped_as_its_authors_do_unless_it_says_otherwise():
    assert consistency(levels=(80.0,)).sample(5 * unit(0), 1).abs().max() <= 1
    assert consistency(levels=(80.0,), clip_x0=False).sample(5 * unit(0), 1).abs().max() > 1


def test_a_level_that_is_not_given_cannot_be_reached():
    with pytest.raises(UnreachableNFE, match="2 levels for a consistency model: give levels for NFE 3"):
        consistency(levels=(80.0, 1.5)).sample(unit(0), 3, draws=draws)


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("cd_imagenet64_lpips", 1.3824),
        ("cd_imagenet64_l2", 1.3824),
        ("cd_bedroom256_lpips", 4.3656),
        ("cd_bedroom256_l2", 3.5197),
        ("ct_imagenet64", 1.9128),
        ("ct_bedroom256", 3.9912),
        ("ct_cat256", 5.2485),
    ],
)
def test_released_networks_are_sampled_at_the_levels_of_their_authors(name, second):
    for file in (name, f"somewhere/{name}.pt"):
        options = StudentRowOptions(file=file)
        assert options.resolved == "consistency"
        assert options.sampled_at() == pytest.approx((80.0, second), rel=1e-4)
        assert options.steps_for(2) == (1, 1)


def test_what_is_not_in_their_script_has_one_level():
    options = StudentRowOptions(file="cd_cat256_l2")
    assert options.sampled_at() == (80.0,)
    with pytest.raises(UnreachableNFE, match="give levels for NFE 2"):
        options.steps_for(2)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_progressive_student_takes_ddim_steps_even_in_the_cosine_time(steps):
    network = GaussianDenoiser(torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64), EDM())
    student = Student(network, StudentRowOptions(kind="progressive", steps=steps))
    path, z = VPCosine(), unit(1)
    D, x = network.on(path), float(path.sigma(1.0)) * z
    for i in range(steps, 0, -1):
        t, s = torch.tensor(i / steps, dtype=torch.float64), torch.tensor((i - 1) / steps, dtype=torch.float64)
        x0 = D(x, t)
        eps = (x - path.alpha(t) * x0) / path.sigma(t)
        x = path.alpha(s) * x0 + path.sigma(s) * eps if i > 1 else x0
    torch.testing.assert_close(student.sample(z, steps), x)
    with pytest.raises(UnreachableNFE, match=f"NFE {steps} only"):
        student.sample(z, steps + 1)


def test_a_one_step_network_is_asked_at_its_own_noise_level():
    network, z = EDMDenoiser(Smooth(), 0.5, EDM()), unit(2)
    found = Student(network, StudentRowOptions(kind="one-step", sigma_init=2.5)).sample(z, 1)
    torch.testing.assert_close(found, network(2.5 * z, 2.5))


def test_the_exact_solution_takes_as_many_evaluations_as_the_truth():
    network = GaussianDenoiser(torch.zeros(2).double(), torch.tensor([0.1, 2.0]).double(), EDM(0.01, 40.0))
    z = unit(3, (6, 2))
    counts, samples = [], []
    for solver in (GroundTruth(network, GroundTruthOptions(tolerance=1e-4)), None):
        with metered() as meter:
            solved = AdaptiveSolver(1e-4).sample(network, z) if solver is None else solver.sample(z, 0)
        counts.append(meter.evaluations)
        samples.append(solved)
    assert counts[0] == counts[1] > 6
    assert torch.equal(*samples)


BETAS = tuple(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square().tolist())
ALPHABAR = (1 - torch.tensor(BETAS, dtype=torch.float64)).cumprod(0)


class Labelled(nn.Module):
    """eps(x, label)."""

    def forward(self, x, label, condition=None):
        return 0.7 * torch.sin(x + label.reshape(-1, 1, 1, 1).to(x) / 300)


class AtLabels(NetworkDenoiser):
    """As a network that is told its label."""

    def _output(self, x, t, condition):
        return self.network(x, self.path.label(t).expand(len(x)), condition)


def released(**options):
    return Released(AtLabels(Labelled(), VPDiscrete(BETAS), "eps"), ReleasedOptions(**options))


def x0_and_eps(x, label):
    eps = Labelled()(x, torch.full((len(x),), float(label)))
    return (x - (1 - ALPHABAR[label]).sqrt() * eps) / ALPHABAR[label].sqrt(), eps


def test_the_labels_are_those_of_diffusers_schedulers():
    assert distilled_labels(4, 1000) == [999, 759, 499, 259]
    assert distilled_labels(1, 1000) == [999]
    assert trailing_labels(4, 1000) == [999, 749, 499, 249]
    assert trailing_labels(3, 1000) == [999, 666, 332]


def test_euler_steps_from_label_to_label_and_ends_at_clean_data():
    x = unit(4)
    for label, following in ((999, 499), (499, None)):
        x0, eps = x0_and_eps(x, label)
        x = x0 if following is None else ALPHABAR[following].sqrt() * x0 + (1 - ALPHABAR[following]).sqrt() * eps
    torch.testing.assert_close(released(sampler="euler", labels=(999, 499)).sample(unit(4), 2), x)


def test_lcm_is_a_consistency_function_with_noise_up_to_the_next_label():
    x, labels = unit(4), [999, 749, 499, 249]
    for j, label in enumerate(labels):
        s = 10 * label
        f = 0.25 / (s**2 + 0.25) * x + s / math.sqrt(s**2 + 0.25) * x0_and_eps(x, label)[0]
        x = f if j == 3 else ALPHABAR[labels[j + 1]].sqrt() * f + (1 - ALPHABAR[labels[j + 1]]).sqrt() * draws(j)
    torch.testing.assert_close(released(sampler="lcm", labels=tuple(labels)).sample(unit(4), 4, draws=draws), x)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_tcd_goes_below_the_next_label_and_is_noised_up_to_it(eta):
    x, labels = unit(4), [999, 749, 499, 249, 0]
    for j, (label, following) in enumerate(itertools.pairwise(labels)):
        below = math.floor((1 - eta) * following)
        x0, eps = x0_and_eps(x, label)
        x = ALPHABAR[below].sqrt() * x0 + (1 - ALPHABAR[below]).sqrt() * eps
        ratio = ALPHABAR[following] / ALPHABAR[below]
        x = ratio.sqrt() * x + (1 - ratio).sqrt() * draws(j)
    found = released(sampler="tcd", eta=eta, labels=(999, 749, 499, 249)).sample(unit(4), 4, draws=draws)
    torch.testing.assert_close(found, x)


def test_unit_noise_is_the_state_at_the_first_label_unless_it_is_scaled():
    x = unit(4)
    torch.testing.assert_close(released(labels=(399,)).sample(x, 1), x0_and_eps(x, 399)[0])
    scaled = released(labels=(399,), start="scaled").sample(x, 1)
    torch.testing.assert_close(scaled, x0_and_eps((1 - ALPHABAR[399]).sqrt() * x, 399)[0])


def test_a_label_that_the_network_does_not_have_is_refused():
    with pytest.raises(ValueError, match="label 1000 is none of this network's, which are 0 to 999"):
        released(labels=(1000,)).sample(unit(4), 1)


def test_sim_is_one_step_from_level_2_5_at_the_label_that_its_code_rounds_to():
    u, betas = [0.0], []
    for j in range(1000, 0, -1):
        betas.append(BETAS[-1] + (BETAS[0] - BETAS[-1]) * j / 1000)
        u.append(math.sqrt((u[-1] ** 2 + 1) / (1 - betas[-1]) - 1))
    nearest = min(range(1001), key=lambda k: abs(u[k] - 2.5))
    label = float(torch.tensor(nearest - 1.0).bfloat16())
    assert sim_label(2.5, VPDiscrete(BETAS)) == label != nearest - 1
    x = 2.5 * unit(4)
    eps = Labelled()(x / math.sqrt(1 + 2.5**2), torch.full((4,), label))
    torch.testing.assert_close(released(sampler="sim").sample(unit(4), 1), x - 2.5 * eps)


def test_a_released_model_of_captions_is_read_as_a_pipeline_whose_options_do_not_change_its_sampler():
    options = ReleasedOptions(
        folder="sdxl", unet="one.safetensors", prediction="sample", guidance=2, resolution=512, labels=(999,)
    )
    found = options.pipeline()
    assert (found.folder, found.network_file, found.prediction) == ("sdxl", "one.safetensors", "sample")
    assert (found.guidance, found.resolution) == (2, 512)
    assert options.alone() == ReleasedOptions(labels=(999,))
    assert options.label() == "sdxl one.safetensors euler prediction=sample guidance=2.0 resolution=512 labels=999"


def test_sim_is_a_single_step_of_a_network_that_predicts_eps():
    with pytest.raises(UnreachableNFE, match="NFE 1 only"):
        released(sampler="sim").sample(unit(4), 2)
    with pytest.raises(ValueError, match="leave out labels"):
        ReleasedOptions(sampler="sim", labels=(399,))
    with pytest.raises(ValueError, match="predicts eps"):
        Released(NetworkDenoiser(Labelled(), VPDiscrete(BETAS), "v"), ReleasedOptions(sampler="sim"))


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_the_samplers_equal_diffusers_schedulers(name, steps, monkeypatch):
    diffusers = pytest.importorskip("diffusers", reason="compared with diffusers' own schedulers, which are not here")
    kind = {"lcm": diffusers.LCMScheduler, "tcd": diffusers.TCDScheduler}[name]
    module = __import__(kind.__module__, fromlist=["randn_tensor"])
    drawn = iter(range(steps))
    monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: draws(next(drawn)).float())
    scheduler = kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    scheduler.set_timesteps(steps)
    extra = {"eta": 0.3} if name == "tcd" else {}
    x = unit(4).float()
    for label in scheduler.timesteps:
        x = scheduler.step(Labelled()(x, label.float().expand(len(x))), label, x, **extra).prev_sample
    found = released(sampler=name).sample(unit(4).float(), steps, draws=lambda j: draws(j).float())
    assert (found - x).square().mean().sqrt() < 1e-5 * x.square().mean().sqrt()


def test_a_network_of_openai_is_sampled_as_a_consistency_model_at_its_own_time(tmp_path):
    """F is told 250 ln(sigma), with labels; c_skip and c_out are those of the boundary."""
    file = write("cm", tmp_path)
    read = checkpoint.read(file)
    made = forms.build(read)
    base = checkpoint.network(read, CheckpointOptions(file=str(file)), made.shape, made.classes)
    student = Student(base, StudentRowOptions(kind="consistency", levels=(80.0, 1.3824))).eval()
    z, labels = torch.randn(2, *made.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2])
    network = made.network.eval()

    @torch.no_grad()
    def f(x, sigma):
        F = network(x / math.sqrt(sigma**2 + 0.25), torch.full((2,), 250 * math.log(sigma)), labels)
        c_skip = 0.25 / ((sigma - 0.002) ** 2 + 0.25)
        c_out = (sigma - 0.002) * 0.5 / math.sqrt(sigma**2 + 0.25)
        return (c_skip * x + c_out * F).clamp(-1, 1)

    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    expected = f(f(80 * z, 80.0) + math.sqrt(1.3824**2 - 0.002**2) * noise, 1.3824)
    torch.testing.assert_close(student.sample(z, 2, labels, lambda j: noise), expected, rtol=1e-4, atol=1e-5)
