"""Progressive distillation against the authors' targets, losses, gradients and samplers, and as a run of phases."""

import pytest
import torch
from torch import Tensor, nn

from fewstep.methods.denoiser import Clipped, Denoiser, EDMDenoiser, NetworkDenoiser, from_function
from fewstep.methods.distillation.progressive import halved_step, progressive_loss, sampler, step_times
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPLinear
from fewstep.methods.randomness import noise
from fewstep.methods.teachers.analytic import MixtureDenoiser
from fewstep.tests.methods.toy_networks import toy_network

EXACT = {"rtol": 1e-6, "atol": 1e-9}
PATHS = {"edm": EDM(), "vp-cosine": VPCosine()}
WEIGHTS = {
    "constant": "uniform",
    "uniform": "uniform",
    "snr": "snr",
    "snr_trunc": "truncated-snr",
    "truncated_snr": "truncated-snr",
    "v_mse": "snr+1",
    "snrp1": "snr+1",
}
START = noise(0, "start", range(2000), (2,))


class VPNetwork(nn.Module):
    """The references' network on the cosine path: tau = logsnr/10, one toy function for each part of the output."""

    def __init__(self, *parameters: Tensor) -> None:
        super().__init__()
        self.p = nn.ParameterList(p.clone() for p in parameters)

    def forward(self, x, t, condition):
        tau = 2 * VPCosine().half_log_snr(t) / 10
        return torch.cat([toy_network(x, tau, p) for p in self.p], dim=1)


class EDMNetwork(nn.Module):
    """The references' network under EDM's scalings: tau = 250 ln t."""

    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.p = nn.ParameterList([p.clone()])

    def forward(self, x, c_noise, condition):
        return toy_network(x, 1000 * c_noise, self.p[0])


def steps_of(arrays):
    return sorted({int(name.split("_")[0][1:]) for name in arrays.names if name.endswith("_indices")})


def student_of(output: str, toy) -> Denoiser:
    if output == "edm":
        return EDMDenoiser(EDMNetwork(toy["p_student"]), 0.5, EDM())
    parameters = [toy["p_student"], toy["p_target"]] if output == "both" else [toy["p_student"]]
    return NetworkDenoiser(VPNetwork(*parameters), VPCosine(), {"x": "x0"}.get(output, output))


def test_reference_targets_on_the_cosine_path(reference, toy, toy_mixture):
    """PD-2: the targets of the authors' steps."""
    arrays, path = reference("distill/pd_vp"), VPCosine()
    assert steps_of(arrays)
    for n in steps_of(arrays):
        expected = {name: arrays[f"N{n}_{name}"] for name in ("u", "logsnr_t", "z", "x_target", "x_target_official")}
        t, m, s = step_times(path, "vp-cosine", n, n - 1 - arrays[f"N{n}_indices"])
        torch.testing.assert_close(t, expected["u"], **EXACT)
        torch.testing.assert_close(2 * path.half_log_snr(t), expected["logsnr_t"], **EXACT)
        torch.testing.assert_close(2 * path.half_log_snr(m), arrays[f"N{n}_logsnr_mid"], **EXACT)
        z = path.noisy(toy["x0"], toy["noise"], t)
        torch.testing.assert_close(z, expected["z"], **EXACT)
        target = halved_step(toy_mixture(path), z, t, m, s)
        torch.testing.assert_close(target, expected["x_target"], **EXACT)
        torch.testing.assert_close(target, expected["x_target_official"], **EXACT)
        torch.testing.assert_close(path.eps(z, target, t), arrays[f"N{n}_eps_target"], **EXACT)
        torch.testing.assert_close(path.v(z, target, t), arrays[f"N{n}_v_target"], **EXACT)


def test_reference_losses_and_gradients_on_the_cosine_path(reference, toy, toy_mixture):
    """PD-2: every output of the paper (x, eps, v, both) with every weight."""
    arrays, path = reference("distill/pd_vp"), VPCosine()
    keys = [name for name in arrays.names if name.endswith("_loss")]
    assert keys
    for key in keys:
        prefix, output, weight = key.removesuffix("_loss").split("_", 2)
        n, student = int(prefix[1:]), student_of(output, toy)
        t, m, s = step_times(path, "vp-cosine", n, n - 1 - arrays[f"{prefix}_indices"])
        loss = progressive_loss(student, toy_mixture(path), toy["x0"], toy["noise"], t, m, s, WEIGHTS[weight])
        torch.testing.assert_close(loss, arrays[key], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), student.network.p[0])
        torch.testing.assert_close(gradient, arrays[key.replace("_loss", "_grad")], **EXACT)


def test_reference_targets_losses_and_gradients_on_the_edm_path(reference, toy, toy_mixture):
    """PD-3."""
    arrays, path = reference("distill/pd_edm"), EDM()
    keys = [name for name in arrays.names if name.endswith("_loss")]
    assert keys
    for key in keys:
        prefix, weight = key.removesuffix("_loss").split("_", 1)
        t, m, s = step_times(path, "edm", int(prefix[1:]), arrays[f"{prefix}_indices"])
        for time, name in ((t, "t"), (m, "t_mid"), (s, "t_end")):
            torch.testing.assert_close(time, arrays[f"{prefix}_{name}"], **EXACT)
        target = halved_step(toy_mixture(path), arrays[f"{prefix}_x_t"], t, m, s)
        torch.testing.assert_close(target, arrays[f"{prefix}_target"], **EXACT)
        student = student_of("edm", toy)
        loss = progressive_loss(student, toy_mixture(path), toy["x0"], toy["noise"], t, m, s, WEIGHTS[weight])
        torch.testing.assert_close(loss, arrays[key], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), student.network.p[0])
        torch.testing.assert_close(gradient, arrays[key.replace("_loss", "_grad")], **EXACT)


def test_reference_sampling_on_the_cosine_path_with_and_without_clipping(reference, toy, toy_mixture):
    """PD-7."""
    arrays, mixture = reference("distill/pd_vp"), toy_mixture(VPCosine())
    keys = [name for name in arrays.names if name.startswith("sample_ddim_")]
    assert keys
    for key in keys:
        _, _, n, clip = key.split("_")
        denoiser = Clipped(mixture, 1.0) if clip == "clip1" else mixture
        # Theirs starts from the unit noise itself, ours from sigma(1) = 1 - 1e-9 times it.
        start = toy["zlat"] / mixture.path.sigma(1.0)
        torch.testing.assert_close(sampler("vp-cosine").sample(denoiser, start, nfe=int(n)), arrays[key], **EXACT)


def test_reference_sampling_on_the_edm_path_ends_at_sigma_min(reference, toy, toy_mixture):
    arrays = reference("distill/pd_edm")
    keys = [name for name in arrays.names if name.startswith("sample_progdist_")]
    assert keys
    for key in keys:
        x0 = sampler("edm", "min").sample(toy_mixture(EDM()), toy["zlat"], nfe=int(key.split("_")[-1]))
        torch.testing.assert_close(x0, arrays[key], **EXACT)


def test_reference_two_gaussian_steps_and_their_inversion(reference, toy_gaussian):
    arrays, path = reference("distill/gaussian_exact"), VPCosine()
    found = [name.removesuffix("_idx") for name in arrays.names if name.startswith("pd_N") and name.endswith("_idx")]
    assert found
    for prefix in found:
        n, z, teacher = int(prefix.split("N")[1]), arrays[f"{prefix}_z"], toy_gaussian(path)
        t = (arrays[f"{prefix}_idx"].double() + 1) / n
        m, s = t - 0.5 / n, t - 1 / n
        z_m = path.ddim_step(z, teacher(z, t), t, m)
        z_s = path.ddim_step(z_m, teacher(z_m, m), m, s)
        torch.testing.assert_close(z_s, arrays[f"{prefix}_z_s"], **EXACT)
        torch.testing.assert_close(halved_step(teacher, z, t, m, s), arrays[f"{prefix}_xtarget_formula"], **EXACT)


@pytest.mark.parametrize("name", PATHS)
def test_at_a_point_mass_every_target_is_the_point(name):
    """PD-4: there the teacher's DDIM is exact, whatever the step."""
    path, point = PATHS[name], torch.tensor([[0.3, -0.7]])
    teacher = MixtureDenoiser(torch.ones(1), point, torch.zeros(1), path)
    t, m, s = step_times(path, name, 4, torch.arange(4))
    x = path.noisy(point.double().expand(4, 2), torch.randn(4, 2, dtype=torch.float64), t)
    torch.testing.assert_close(halved_step(teacher, x, t, m, s), point.double().expand(4, 2), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", PATHS)
def test_the_papers_losses_on_eps_and_v_are_weights_on_x0(name, toy, toy_mixture):
    """PD-5: snr_trunc is the larger of the x- and the eps-error; on a VP path v's error is (SNR + 1) times x0's."""
    path, x0, eps = PATHS[name], toy["x0"], toy["noise"]
    t, m, s = step_times(path, name, 8, torch.arange(8))
    student = from_function(lambda x, t: 0.7 * x + 0.1, path)
    x_t = path.noisy(x0, eps, t)
    target, estimate = halved_step(toy_mixture(path), x_t, t, m, s), student(x_t, t)

    def error(of):
        return (of(x_t, estimate, t) - of(x_t, target, t)).square().flatten(1).mean(1)

    def loss(weight):
        return progressive_loss(student, toy_mixture(path), x0, eps, t, m, s, weight)

    torch.testing.assert_close(loss("snr"), error(path.eps))
    torch.testing.assert_close(loss("truncated-snr"), torch.maximum(loss("uniform"), error(path.eps)))
    if name == "vp-cosine":
        torch.testing.assert_close(loss("snr+1"), error(path.v))


def affine_student(teacher: Denoiser, name: str, steps: int) -> Denoiser:
    """The student that fits every target exactly where the data are Gaussian: affine in x at each of its steps."""
    path, fits = teacher.path, []
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None].expand(5, 2)
    for i in range(steps):
        t, m, s = step_times(path, name, steps, torch.full((5,), i))
        target = halved_step(teacher, x * path.sigma(t)[0], t, m, s)
        features = torch.stack([torch.ones(5, dtype=torch.float64), x[:, 0] * path.sigma(t)[0]], 1)
        fits.append(torch.linalg.lstsq(features, target).solution)
    starts = step_times(path, name, steps, torch.arange(steps))[0]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        nearest = (t.reshape(-1, 1) - starts).abs().argmin(1)
        offset, slope = torch.stack(fits)[nearest].unbind(1)
        return offset + slope * x

    return from_function(denoise, path)


@pytest.mark.parametrize("name", PATHS)
def test_a_student_without_error_samples_as_the_first_teacher_did(name, toy_gaussian):
    """PD-6: four halvings lose nothing but what the students fail to learn."""
    end = "min" if name == "edm" else "zero"
    teacher = toy_gaussian(PATHS[name])
    gaussian = type(teacher)(torch.tensor([0.2, -0.4]).double(), torch.tensor([0.3, 0.05]).double(), PATHS[name])
    start = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = sampler(name, end).sample(gaussian, start, nfe=16)
    student: Denoiser = gaussian
    for steps in (8, 4, 2, 1):
        student = affine_student(student, name, steps)
        torch.testing.assert_close(sampler(name, end).sample(student, start, nfe=steps), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("path", [EDM(), VPCosine(), VPLinear(), FlowOT()], ids=lambda path: type(path).__name__)
def test_a_ddim_step_from_the_inverse_step_lands_where_it_should(path):
    """PD-1, also where the step ends at clean data."""
    x, x_s = torch.randn(2, 7, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = path.t_max * torch.linspace(0.3, 0.9, 7, dtype=torch.float64)
    for s in (0.6 * t, path.time_at(0.0).expand(7)):
        landed = path.ddim_step(x, path.x0_of_step(x, x_s, t, s), t, s)
        torch.testing.assert_close(landed, x_s, rtol=1e-12, atol=1e-12)


def test_the_inverse_step_holds_in_float32_for_thousands_of_steps(toy, toy_mixture):
    """Neighbouring times: the two products in the denominator agree to three digits."""
    path = VPCosine()
    t, _, s = step_times(path, "vp-cosine", 4096, torch.arange(8) * 500)
    x = path.noisy(toy["x0"], toy["noise"], t)
    x_s = path.ddim_step(x, toy["x0"], t, s)
    single = path.x0_of_step(x.float(), x_s.float(), t, s).double()
    rounding = 2**-23 * x_s.abs().max() / (path.sigma(t) * path.alpha(s) - path.sigma(s) * path.alpha(t)).min()
    assert (single - toy["x0"]).abs().max() < 2 * rounding
