"""Class-conditional teachers and classifier-free guidance, on a law where both are known in closed form."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from fewstep.bench.metrics import rmse
from fewstep.methods import networks, solvers
from fewstep.methods.denoiser import ChangeOfPath, Denoiser, EDMDenoiser, Guided, from_function, metered
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.learned_solvers.bespoke import Bespoke
from fewstep.methods.learned_solvers.ground_truth import Flow, GroundTruth
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPCosine, expand
from fewstep.methods.randomness import noise
from fewstep.methods.specs.bespoke import BespokeOptions
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.methods.specs.teachers.pretrain import MLPOptions, PretrainOptions, UNetOptions
from fewstep.methods.teachers.analytic import MixtureDenoiser
from fewstep.methods.teachers.pretrain import Pretrain

COUNTS = (2, 3, 5)
WEIGHTS = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
MEANS = torch.tensor([[1.0, 0.0], [-0.5, 0.9], [-0.4, -0.8]], dtype=torch.float64)
VARIANCES = torch.tensor([0.04, 0.09, 0.02], dtype=torch.float64)


class ConditionalMixture(MixtureDenoiser):
    """Each component of a mixture is a class: the exact D(x; t | c), and the whole law's D(x; t) without c."""

    on = Denoiser.on
    sample_shape = (2,)
    class_counts = COUNTS

    def __init__(self, path):
        super().__init__(WEIGHTS, MEANS, VARIANCES, path)

    def denoise(self, x, t, condition):
        if condition is None:
            return super().denoise(x, t, None)
        mean, variance = self.means[condition], self.variances[condition, None]
        alpha, sigma = expand(self.path.alpha(t), x), expand(self.path.sigma(t), x)
        return mean + alpha * variance / (alpha**2 * variance + sigma**2) * (x - alpha * mean)


def some_states(t, path):
    """(x (12, 2), labels (12,)) at time t of the path."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(12) % 3
    x = path.alpha(t) * MEANS[labels.flip(0)] + path.sigma(t) * torch.randn(12, 2, generator=g, dtype=torch.float64)
    return x, labels


def noised(path, t, labels=None):
    """The law of x_t, of the given classes or of all."""
    alpha, sigma = path.alpha(t), path.sigma(t)
    mean, std = alpha * MEANS, (alpha**2 * VARIANCES + sigma**2).sqrt()[:, None].expand(3, 2)
    if labels is not None:
        return Independent(Normal(mean[labels], std[labels]), 1)
    return MixtureSameFamily(Categorical(WEIGHTS), Independent(Normal(mean, std), 1))


@pytest.mark.parametrize("path", [EDM(), FlowOT(), VPCosine()], ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_the_denoiser_of_the_sharpened_law(path, scale):
    """Tweedie on p(x_t | c)^w p(x_t)^(1 - w): D = (x + sigma^2 grad log p)/alpha."""
    t = torch.tensor(0.6, dtype=torch.float64)
    x, labels = some_states(t, path)
    x.requires_grad_()
    log_p = scale * noised(path, t, labels).log_prob(x) + (1 - scale) * noised(path, t).log_prob(x)
    (score,) = torch.autograd.grad(log_p.sum(), x)
    expected = (x + path.sigma(t) ** 2 * score) / path.alpha(t)
    guided = Guided(ConditionalMixture(EDM()), scale).on(path)
    torch.testing.assert_close(guided(x, t, labels), expected, rtol=1e-9, atol=1e-9)


def test_guidance_1_is_the_conditional_denoiser_and_guidance_0_the_unconditional():
    exact, t = ConditionalMixture(EDM()), torch.tensor(0.6, dtype=torch.float64)
    x, labels = some_states(t, EDM())
    torch.testing.assert_close(Guided(exact, 1.0)(x, t, labels), exact(x, t, labels), rtol=0, atol=1e-15)
    assert torch.equal(Guided(exact, 0.0)(x, t, labels), exact(x, t))
    assert float((exact(x, t, labels) - exact(x, t)).abs().max()) > 0.1


@pytest.mark.parametrize("name", ["euler", "heun", "dpm-solver-2", "dpmpp-2m", "unipc-3", "ddpm"])
def test_every_guided_evaluation_of_a_solver_is_two_forwards(name):
    guided = Guided(ConditionalMixture(EDM(0.01, 40.0)), 2.0)
    start = noise(0, "start", range(4), (2,)).double()
    with metered() as meter:
        solvers.get(name).sample(guided, start, nfe=7, condition=guided.conditions(0, "label", range(4)))
    assert (meter.evaluations, meter.forwards) == (4 * 7, 2 * 4 * 7)


def test_guidance_1_samples_each_class():
    """The conditional ODE of one Gaussian ends at mean + sqrt(v) noise: no row may get another row's label."""
    guided = Guided(ConditionalMixture(EDM(1e-4, 4000.0)), 1.0)
    start, labels = noise(0, "start", range(6), (2,)).double(), torch.tensor([2, 0, 1, 1, 0, 2])
    x = solvers.get("rk45", tolerance=1e-8).sample(guided, start, condition=labels)
    torch.testing.assert_close(x, MEANS[labels] + VARIANCES[labels, None].sqrt() * start, rtol=0, atol=1e-3)


def test_labels_depend_on_their_index_alone():
    denoiser = ConditionalMixture(EDM())
    whole = denoiser.conditions(3, "label", range(50))
    parts = [denoiser.conditions(3, "label", range(first, min(50, first + 7))) for first in range(0, 50, 7)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(denoiser.conditions(3, "label", [41, 5]), whole[[41, 5]])
    assert not torch.equal(denoiser.conditions(4, "label", range(50)), whole)
    assert not torch.equal(denoiser.conditions(3, "label-trajectory", range(50)), whole)


def test_labels_come_in_the_data_sets_proportions():
    labels = ConditionalMixture(EDM()).conditions(0, "label", range(4000))
    shares = torch.bincount(labels, minlength=3).double() / 4000
    torch.testing.assert_close(shares, WEIGHTS, rtol=0, atol=0.025)


def test_an_unconditional_denoiser_has_no_labels():
    assert from_function(lambda x, t: x, EDM()).conditions(0, "label", range(3)) is None


def test_wrappers_keep_what_a_method_asks_its_teacher():
    network = ConditionalMixture(EDM())
    wrapped = Guided(network, 2.0).on(FlowOT()).on(EDM(0.1, 10.0))
    assert isinstance(wrapped, ChangeOfPath)
    assert (wrapped.sample_shape, wrapped.class_counts) == ((2,), COUNTS)
    assert wrapped.unwrapped() is network


def test_a_condition_can_be_filled_in():
    guided, t = Guided(ConditionalMixture(EDM()), 2.0), torch.tensor(0.6, dtype=torch.float64)
    x, labels = some_states(t, EDM())
    assert torch.equal(guided.given(labels)(x, t), guided(x, t, labels))
    assert guided.given(None) is guided


@pytest.mark.parametrize("path", [FlowOT(), FlowCosine()], ids=lambda path: type(path).__name__)
def test_ground_truth_follows_each_paths_own_label(path):
    """With guidance 1 each path is the closed-form flow of its class's Gaussian."""
    flow = Flow.of(Guided(ConditionalMixture(EDM(0.002, 80.0)), 1.0), path)
    start, labels = noise(0, "trajectory", range(6), (2,)).double(), torch.tensor([2, 0, 1, 1, 0, 2])
    truth = GroundTruth(6, 65, (2,), labels).double()
    truth.solve(flow, start, 1e-8)
    for i, r in enumerate(torch.linspace(0.0, 1.0, 65, dtype=torch.float64)):
        (a0, s0), (a1, s1) = ((path.alpha(flow.time(q)), path.sigma(flow.time(q))) for q in (torch.tensor(0.0), r))
        mean, variance = MEANS[labels], VARIANCES[labels, None]
        scale = ((a1**2 * variance + s1**2) / (a0**2 * variance + s0**2)).sqrt()
        torch.testing.assert_close(truth.states[i], a1 * mean + scale * (s0 * start - a0 * mean), rtol=0, atol=1e-4)


def test_a_bespoke_solver_fitted_to_a_guided_teacher_lowers_the_error_to_the_guided_truth():
    teacher = Guided(ConditionalMixture(EDM(0.002, 80.0)), 2.0)
    labels = teacher.conditions(1, "label", range(64))
    fresh = noise(1, "fresh", range(64), (2,)).double()
    exact = solvers.get("rk45", tolerance=1e-8).sample(teacher, fresh, condition=labels)
    options = BespokeOptions(loss="rmse", trajectories=48, nodes=33, batch=16, learning_rate=1e-2)
    method = Bespoke(teacher, options, nfe=8).double()
    before = rmse(method.sample(fresh, 8, labels), exact)
    optimizer = method.configure_optimizers()
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 1e-2 * method.learning_rate_factor(step, step / 150)
        optimizer.zero_grad()
        method.training_step({"step": step}, 0).backward()
        method.on_before_optimizer_step(optimizer)
        optimizer.step()
    with metered() as meter:
        after = rmse(method.sample(fresh, 8, labels), exact)
    assert after < 0.5 * before
    assert after < 0.5 * rmse(method.sample(fresh, 8), exact)
    assert meter.forwards == 2 * meter.evaluations == 2 * 8 * 64


def test_a_bespoke_solvers_labels_depend_on_their_index_alone():
    teacher = ConditionalMixture(EDM())
    few, many = (Bespoke(teacher, BespokeOptions(trajectories=n), seed=5).truth.labels for n in (7, 30))
    assert torch.equal(few, many[:7])
    assert len(set(many.tolist())) == 3


def conditional_network(seed=0, classes=3):
    torch.manual_seed(seed)
    network = ResidualMLP(2, width=16, blocks=1, classes=classes)
    nn.init.normal_(network.out.weight, std=0.3)
    denoiser = EDMDenoiser(network, 0.75, EDM(0.01, 40.0))
    denoiser.class_counts = COUNTS if classes else None
    return denoiser


@pytest.mark.parametrize(
    ("options", "shape"), [(UNetOptions(channels=8), (1, 8, 8)), (MLPOptions(width=16), (2,))], ids=["unet", "mlp"]
)
@torch.no_grad()
def test_every_label_is_told_apart_and_the_null_label_is_the_row_after_the_last_class(options, shape):
    network = networks.build(options.model_dump(), shape, classes=3)
    rng = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.normal_(std=0.3, generator=rng)
    x = torch.randn(1, *shape, generator=rng).expand(4, *shape)
    c_noise = torch.zeros(4)
    outputs = network(x, c_noise, torch.tensor([0, 1, 2, 3]))
    torch.testing.assert_close(outputs[3], network(x, c_noise)[3])
    for i in range(4):
        for j in range(i):
            assert float((outputs[i] - outputs[j]).abs().max()) > 1e-3


def batch(labels, step=0):
    x0 = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(step))
    return {"step": step, "x0": x0, "labels": torch.as_tensor(labels)}


def test_the_student_of_a_guided_teacher_copies_its_network():
    teacher = Guided(conditional_network(), 2.0)
    method = Consistency(teacher, ConsistencyOptions())
    for own, given in zip(method.student.network.parameters(), teacher.denoiser.network.parameters(), strict=True):
        assert torch.equal(own, given)
        assert own is not given
    labels = torch.tensor([0, 1, 2, 2])
    with metered() as meter:
        method.eval().sample(noise(0, "start", range(4), (2,)), 1, labels)
    assert (meter.evaluations, meter.forwards) == (4, 4)


@pytest.mark.parametrize("part", ["student", "target", "teacher"])
def test_student_target_and_teacher_see_the_batchs_labels(part):
    """Erasing the labels of one of the three alone changes the loss."""

    def loss(erased=None):
        method = Consistency(Guided(conditional_network(), 2.0), ConsistencyOptions(target_ema=0.5))
        parts = {
            "student": method.student,
            "target": method.target,
            "teacher": method.teacher.unwrapped(),
        }
        if erased:
            table = parts[erased].network.embed.labels
            with torch.no_grad():
                table.weight[:-1] = table.weight[-1]
        return method.training_step(batch([0, 1, 2, 2]), 0).detach()

    assert abs(float(loss() - loss(part))) > 1e-6 * float(loss())


def test_guidance_1_distils_the_conditional_teacher():
    plain, guided = (
        Consistency(teacher, ConsistencyOptions(), seed=2)
        for teacher in (conditional_network(), Guided(conditional_network(), 1.0))
    )
    losses = [method.training_step(batch([0, 1, 2, 2]), 0) for method in (plain, guided)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=0)


def test_an_unconditional_teacher_is_not_told_the_labels():
    method = Consistency(conditional_network(classes=0), ConsistencyOptions())
    first, second = (method.training_step(batch(labels), 0) for labels in ([0, 1], [2, 2]))
    assert torch.equal(first, second)
    assert method.condition_of(batch([0, 1])) is None


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_pretraining_drops_that_share_of_the_labels(dropout):
    options = PretrainOptions(network=MLPOptions(width=8, blocks=1), label_dropout=dropout)
    module, seen = Pretrain(options, (2,), 3), []
    forward = module.denoiser.network.forward
    module.denoiser.network.forward = lambda x, c, labels: seen.append(labels) or forward(x, c, labels)
    labels = torch.arange(600) % 3
    for step in range(5):
        module.training_step(batch(labels, step), 0)
    null = torch.stack(seen) == 3
    assert float(null.double().mean()) == pytest.approx(dropout, abs=0.03)
    assert torch.equal(torch.stack(seen)[~null], labels.expand(5, -1)[~null])


def test_a_teacher_without_label_dropout_has_the_weights_it_always_had():
    options = PretrainOptions(network=MLPOptions(width=8, blocks=1))
    first, second = (Pretrain(options, (2,), classes) for classes in (0, 3))
    assert list(first.state_dict()) == list(second.state_dict())
    loss = [module.training_step(batch([0, 1, 2]), 0) for module in (first, second)]
    assert torch.equal(*loss)


def test_labels_that_do_not_exist_cannot_be_dropped():
    with pytest.raises(ValueError, match="the data set has no labels"):
        Pretrain(PretrainOptions(label_dropout=0.1), (1, 8, 8))


def test_a_guided_teacher_can_be_copied():
    """Methods deep-copy their teachers and move them: the copy keeps scale, shape and classes."""
    guided = Guided(conditional_network(), 2.0)
    twin = copy.deepcopy(guided)
    x, labels = torch.randn(3, 2), torch.tensor([0, 1, 2])
    assert torch.equal(twin(x, 1.0, labels), guided(x, 1.0, labels))
    assert twin.class_counts == COUNTS
