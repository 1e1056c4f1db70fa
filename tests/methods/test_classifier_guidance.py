"""Classifier guidance, on Gaussian classes, whose classifier and guided score are known in closed form."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.stages.train import build
from fewstep.bench.training.counting import Counted
from fewstep.methods import registry, saved, solvers
from fewstep.methods.classifier_guidance import ClassifierGuided, NoisyClassifier
from fewstep.methods.denoiser import Guided, metered
from fewstep.methods.distillation.knowledge import Knowledge
from fewstep.methods.learned_solvers.bespoke import Bespoke
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPDiscrete
from fewstep.methods.randomness import noise
from fewstep.methods.specs.bespoke import BespokeOptions
from fewstep.methods.specs.knowledge import KnowledgeOptions
from fewstep.tests.bench.test_counting import operations_seen
from fewstep.tests.methods import killing
from fewstep.tests.methods.test_guidance import MEANS, VARIANCES, WEIGHTS, ConditionalMixture, noised, some_states

CHAIN = VPDiscrete()


class GaussianClasses(nn.Module):
    """p(y | x) of the mixture's noised components at a label of the chain: logits up to a constant."""

    def forward(self, x, label):
        t = CHAIN.time_of_label(label)
        alpha, sigma = CHAIN.alpha(t), CHAIN.sigma(t)
        mean = alpha[:, None, None] * MEANS
        std = (alpha[:, None] ** 2 * VARIANCES + sigma[:, None] ** 2).sqrt()[:, :, None].expand(-1, -1, 2)
        return WEIGHTS.log() + Independent(Normal(mean, std), 1).log_prob(x[:, None].double()) + 7


class SmallClassifier(nn.Module):
    def __init__(self, width=64, classes=3):
        super().__init__()
        self.inside, self.logits = nn.Linear(3, width), nn.Linear(width, classes)

    def forward(self, x, label):
        return self.logits(torch.tanh(self.inside(torch.cat([x, label[:, None].to(x) / 1000], dim=1))))


def exact():
    return NoisyClassifier(GaussianClasses(), CHAIN, CHAIN.label)


def small(scale=2.0, classes=3):
    """A guided network with a classifier of fixed random weights; without `classes` the network knows no labels."""
    teacher = killing.small_teacher(classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = NoisyClassifier(SmallClassifier(), CHAIN, CHAIN.label)
    guided = ClassifierGuided(teacher, classifier, scale)
    guided.class_counts = (2, 1, 1)
    return guided.requires_grad_(False).eval()


@pytest.mark.parametrize("path", [EDM(), FlowOT(), VPCosine(), CHAIN], ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_the_denoiser_of_the_sharpened_law(path, scale):
    """Tweedie on p(x_t) p(c | x_t)^w, in the closed form that p(c | x) = pi_c p(x | c) / p(x) gives."""
    t = torch.tensor(0.6, dtype=torch.float64)
    x, labels = some_states(t, path)
    x.requires_grad_()
    log_p = (1 - scale) * noised(path, t).log_prob(x) + scale * noised(path, t, labels).log_prob(x)
    (score,) = torch.autograd.grad(log_p.sum(), x)
    expected = (x + path.sigma(t) ** 2 * score) / path.alpha(t)
    guided = ClassifierGuided(ConditionalUnaware(path), exact(), scale)
    torch.testing.assert_close(guided(x.detach(), t, labels), expected, rtol=1e-7, atol=1e-7)


class ConditionalUnaware(ConditionalMixture):
    """The whole law, whatever the label."""

    def denoise(self, x, t, condition):
        return super().denoise(x, t, None)


def test_eps_moves_against_the_gradient():
    """eps - w sigma grad log p(y | x)."""
    path, t = EDM(), torch.tensor(0.6, dtype=torch.float64)
    x, labels = some_states(t, path)
    guided = ClassifierGuided(ConditionalUnaware(path), exact(), 3.0)
    gradient = guided.gradient(x, t, labels)
    moved = guided.eps(x, t, labels) - guided.denoiser.eps(x, t, labels)
    torch.testing.assert_close(moved, -3.0 * 0.6 * gradient, rtol=1e-9, atol=1e-9)


def test_scale_1_is_the_conditional_denoiser_and_no_label_the_unconditional():
    t = torch.tensor(0.6, dtype=torch.float64)
    x, labels = some_states(t, EDM())
    guided, own = ClassifierGuided(ConditionalUnaware(EDM()), exact(), 1.0), ConditionalMixture(EDM())
    torch.testing.assert_close(guided(x, t, labels), own(x, t, labels), rtol=1e-7, atol=1e-7)
    assert torch.equal(guided(x, t), own(x, t))


def test_every_sample_may_have_a_time_of_its_own():
    path = EDM()
    times = torch.linspace(0.2, 3.0, 12, dtype=torch.float64)
    x, labels = some_states(torch.tensor(0.6, dtype=torch.float64), path)
    guided = ClassifierGuided(ConditionalUnaware(path), exact(), 2.0)
    one_by_one = [guided(x[i : i + 1], times[i], labels[i : i + 1]) for i in range(12)]
    torch.testing.assert_close(guided(x, times, labels), torch.cat(one_by_one), rtol=1e-9, atol=1e-9)


def test_an_evaluation_is_one_forward_and_the_classifiers_forward_and_backward():
    guided, x = small(), torch.randn(4, 2)
    labels = torch.tensor([0, 1, 2, 0])
    with metered() as meter, torch.no_grad(), FlopCounterMode(display=False) as counter:
        guided(x, 1.0, labels)
    assert (meter.evaluations, meter.forwards) == (4, 4)
    with torch.no_grad(), FlopCounterMode(display=False) as alone:
        guided.denoiser(x, 1.0, labels)
    forward = 2 * 4 * (3 * 64 + 64 * 3)
    # Backward to x alone: the weights ask for no gradient.
    assert counter.get_total_flops() - alone.get_total_flops() == 2 * forward


@torch.no_grad()
def test_a_gradient_like_an_earlier_one_is_counted_without_being_taken_apart(monkeypatch):
    guided, x, labels = small(), torch.randn(4, 2), torch.tensor([0, 1, 2, 0])
    with Counted(held=()) as counted, operations_seen(monkeypatch) as seen:
        guided(x, 1.0, labels)
        once, flops = seen[0], counted.flops
        for t in (0.5, 2.0):
            guided(x, t, labels)
    with FlopCounterMode(display=False) as counter:
        guided(x, 1.0, labels)
    assert counted.flops == 3 * flops == 3 * counter.get_total_flops()
    assert seen[0] < 2 * once


BUDGETS = {"knowledge": 2000, "bespoke": 3500}


@pytest.mark.parametrize("method", ["knowledge", pytest.param("bespoke", marks=pytest.mark.slow)])
def test_the_ledger_has_the_classifiers_flops(tmp_path, method):
    makes = {
        "knowledge": lambda teacher: Knowledge(teacher, KnowledgeOptions(batch=8, pairs_share=1)),
        "bespoke": lambda teacher: Bespoke(
            teacher, BespokeOptions(batch=8, loss="rmse", trajectories=8, tolerance=1e-1), nfe=4
        ),
    }
    ledgers = []
    for scale in (None, 2.0):
        teacher = small(1.0 if scale is None else scale)
        made = makes[method](teacher if scale else teacher.denoiser)
        with FlopCounterMode(display=False) as counter:
            ledgers.append(killing.train(made, BUDGETS[method], tmp_path / str(scale)))
        assert ledgers[-1].flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    plain, guided = ledgers
    use = "pairs" if method == "knowledge" else "ground truth"
    each = [ledger.uses[use] / ledger.steps for ledger in ledgers]
    assert method == "bespoke" or each[1] > 1.2 * each[0]
    assert guided.steps < plain.steps


def test_gradients_pass_through_the_guidance():
    """d D/dx by finite differences, which Bespoke's backward pass needs, to second order in the classifier."""
    guided = ClassifierGuided(ConditionalUnaware(EDM()), exact(), 2.0)
    t = torch.tensor(0.6, dtype=torch.float64)
    x, labels = some_states(t, EDM())
    assert torch.autograd.gradcheck(lambda y: guided(y, t, labels[:3]), x[:3].clone().requires_grad_(), atol=1e-5)


def test_samples_reach_the_class_that_is_asked_for():
    """Without guidance a third are its, guided by scale 1 nearly all."""
    labels, z = torch.full((300,), 1), noise(0, "start", range(300), (2,)).double()
    shares = []
    for scale in (0.0, 1.0):
        guided = ClassifierGuided(ConditionalUnaware(EDM(0.01, 40.0)), exact(), scale)
        x0 = solvers.get("dpmpp-2m").sample(guided, z, nfe=20, condition=labels)
        nearest = (x0[:, None] - MEANS).norm(dim=2).argmin(1)
        shares.append(float((nearest == 1).double().mean()))
    assert shares[0] < 0.5
    assert shares[1] > 0.97


def test_a_student_copies_the_network_beneath():
    guided = small()
    assert guided.unwrapped() is guided.denoiser
    assert guided.on(FlowOT()).unwrapped() is guided.denoiser
    student = Knowledge(guided, KnowledgeOptions()).student
    assert torch.equal(student.network.stem.weight, guided.denoiser.network.stem.weight)


@pytest.mark.parametrize(
    "name", [name for name, spec in registry.METHODS.items() if spec.trains and spec.needs_network]
)
def test_a_network_without_labels_cannot_be_told_the_classifiers(name):
    with pytest.raises(ValueError, match="knows no labels"):
        build(name, {}, small(classes=0), nfe=4)


@pytest.mark.parametrize("name", ["bespoke", "d-ode", "iia"])
def test_learned_solvers_stand_on_any_guided_network(name):
    assert build(name, {}, small(classes=0), nfe=5 if name == "iia" else 4).teacher.class_counts == (2, 1, 1)


def test_a_saved_method_belongs_to_its_classifier_and_scale(tmp_path):
    options = BespokeOptions(order=2)
    file = tmp_path / "solver"
    saved.save(Bespoke(small(), options, nfe=4), "bespoke", options, file, nfe=4)
    saved.load(file, small())
    with pytest.raises(saved.MismatchError, match="guidance classifier 2; the teacher has classifier 3"):
        saved.load(file, small(3.0))
    with pytest.raises(saved.MismatchError, match="guidance classifier 2; the teacher has none"):
        saved.load(file, small().denoiser)
    other = small()
    nn.init.zeros_(other.classifier.network.logits.weight)
    with pytest.raises(saved.MismatchError, match="was fitted to teacher"):
        saved.load(file, other)
    assert saved.guidance(Guided(other, 2.0)) == "2, classifier 2"
