"""How long the suites of papers take on one GPU: the evaluations that they ask for, times the FLOPs of each, at a pace.

    python -m fewstep.bench.benchmarks.gpu_hours             the hours of every suite
    python -m fewstep.bench.benchmarks.gpu_hours --count     the FLOPs of a forward, counted anew

Nothing of it has been timed on a GPU.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ...methods import known_pipelines
from ...methods.known_pipelines import Folder
from ...methods.options import Options
from ...methods.published_networks import NETWORKS, PublishedNetwork
from ...methods.specs.released import ReleasedOptions
from ...methods.specs.teachers.pipeline import PipelineOptions
from ..metrics.register import METRICS
from ..suite import elsewhere
from ..suite.loading import load, shipped_names
from ..suite.networks import network
from ..suite.pairs import pairs
from ..suite.schema import Budget, MethodEntry, Suite
from ..suite.units import asked

PACE = 18e12
"""FLOP/s that a large GPU sustains in float32."""
PER_IMAGE = 8
"""Forwards for each image of a training step: backward passes, the teacher's and the targets'."""
EXACT = 150
"""Forwards of an adaptive solution."""
PER_STEP = 3
"""Forwards for each step of a learned solver on one path: the step and its gradient."""
DECODING = 2.515e12 / 512**2
"""FLOPs of an autoencoder's decoder for each pixel of a picture, as counted on Stable Diffusion's at 512 pixels."""
Network = PublishedNetwork | Folder
GFLOPS = {
    "edm-cifar10-32x32-uncond-vp": 42.383,
    "edm-cifar10-32x32-cond-vp": 42.383,
    "edm-cifar10-32x32-uncond-ve": 42.792,
    "edm-cifar10-32x32-cond-ve": 42.792,
    "edm-ffhq-64x64-uncond-vp": 83.732,
    "edm-ffhq-64x64-uncond-ve": 84.860,
    "edm-imagenet-64x64-cond-adm": 219.330,
    "baseline-cifar10-32x32-uncond-vp": 21.695,
    "baseline-cifar10-32x32-cond-vp": 21.695,
    "baseline-cifar10-32x32-uncond-ve": 22.021,
    "baseline-cifar10-32x32-cond-ve": 22.021,
    "baseline-ffhq-64x64-uncond-vp": 83.732,
    "baseline-ffhq-64x64-uncond-ve": 84.860,
    "64x64_diffusion": 219.356,
    "128x128_diffusion": 613.856,
    "256x256_diffusion": 2239.666,
    "256x256_diffusion_uncond": 2239.666,
    "512x512_diffusion": 3964.670,
    "imagenet64_uncond_100M_1500K": 79.473,
    "edm_imagenet64_ema": 219.314,
    "edm_bedroom256_ema": 2238.707,
    "otcfm_cifar10_weights_step_400000": 12.444,
    "ema_cifar10": 12.444,
    "ddim_celeba64": 48.101,
    "cifar10_ddpmpp_deep_continuous": 37.096,
    "pd_cifar_original": 35.795,
    "pd_imagenet_original": 219.356,
}
"""Of one forward on one image, by a network of each architecture in the suites."""


def gflops(known: Network) -> float:
    """Of a forward of a network: as of that of its architecture which was counted."""
    if isinstance(known, Folder):
        return 1e3 * known.teraflops
    for name, count in GFLOPS.items():
        if (NETWORKS[name].shape, NETWORKS[name].parameters) == (known.shape, known.parameters):
            return count
    raise KeyError(f"{known.name}: count its forward with --count")


def hours(suite: Suite) -> float:
    """On one GPU, of sampling, training, decoding and exact solutions; scores and guiding classifiers are left out."""
    return sum(1e9 * gflops(known) * forwards for known, forwards in evaluations(suite)) / PACE / 3600


def evaluations(suite: Suite) -> Iterator[tuple[Network, float]]:
    """(network, its forwards) of each part of a run; decoding as the forwards that it is worth."""
    exact = min(suite.truth.samples, suite.samples) * EXACT * len(suite.seeds)
    to_the_truth = any(METRICS[name].against == "truth" for name in suite.metrics)
    samples: dict[str, int] = {}
    for pair in pairs(suite):
        known, count = _known(pair.teacher), (pair.samples or suite.samples) * len(suite.seeds)
        samples[pair.dataset] = count
        yield known, float(exact * to_the_truth)
        for entry in suite.methods:
            if not entry.spec.elsewhere:
                yield from _of(entry, suite, known, count, _forwards(entry, pair.teacher))
            elif entry.name == "ground-truth":
                yield known, float(count * EXACT)
    for entry in suite.methods:
        if entry.name in ("student", "released"):
            options = entry.checked()
            network, doubled = elsewhere.network_of(options), 1
            if isinstance(options, ReleasedOptions) and options.guidance is not None:
                doubled = 1 if known_pipelines.folders()[options.folder].told_guidance else 2
            for name in elsewhere.datasets_of(suite, entry):
                yield from _sampled(entry, suite, _known(network), samples[name], doubled)


def _forwards(entry: MethodEntry, teacher: Options) -> int:
    """Of an evaluation: two of a guided pipeline, one of its student."""
    guided = isinstance(teacher, PipelineOptions) and teacher.guidance is not None
    return 2 if guided and not entry.spec.needs_network else 1


def _sampled(
    entry: MethodEntry, suite: Suite, known: Network, count: int, forwards: int
) -> Iterator[tuple[Network, float]]:
    reached = [nfe for nfe in entry.nfe or suite.nfe if not entry.refusal(nfe)]
    yield known, float(forwards * count * sum(reached))
    if isinstance(known, Folder):
        yield known, count * len(reached) * DECODING * known.pixels**2 / (1e9 * gflops(known))


def _of(entry: MethodEntry, suite: Suite, known: Network, count: int, forwards: int) -> Iterator[tuple[Network, float]]:
    """A row's own: every seed at every NFE that it reaches, and its training for each budget."""
    reached = [nfe for nfe in entry.nfe or suite.nfe if not entry.refusal(nfe)]
    yield from _sampled(entry, suite, known, count, forwards)
    if not entry.spec.trains:
        return
    source = known if entry.fitted_on is None else _known(entry.fitted_on.teacher)
    for budget in entry.budgets or suite.budgets:
        runs = reached if entry.spec.per_nfe else [max(reached)]
        yield source, float(sum(_training(budget, entry, nfe) for nfe in runs) * len(suite.seeds))


def _training(budget: Budget, entry: MethodEntry, nfe: int) -> float:
    """Forwards of one run."""
    options = entry.checked()
    limit, dumped = asked(budget, options, options.model_dump())
    batch = dumped.get("batch", 1)
    if budget.unit == "trajectories":
        return budget.amount * (EXACT + PER_STEP * nfe)
    if budget.unit == "batches":
        return float(batch * nfe * dumped["scale"])
    ((unit, amount),) = limit.items()
    return {"images": PER_IMAGE * amount, "iterations": PER_IMAGE * batch * amount, "evaluations": amount}[unit]


def _known(teacher: Options | None) -> Network:
    if isinstance(teacher, PipelineOptions):
        return known_pipelines.folders()[teacher.folder]
    known = None if teacher is None else network(teacher)
    if known is None:
        raise ValueError("the hours are known for published networks alone")
    return known


def said(suite: Suite) -> str:
    """`5 hours`, `3 days`, `2 years`, rounded: it is an estimate."""
    amount = hours(suite)
    for unit, size in (("year", 24 * 365.0), ("month", 24 * 30.0), ("day", 24.0), ("hour", 1.0)):
        if amount >= 2 * size or unit == "hour":
            break
    count = max(1, float(f"{amount / size:.2g}"))
    return f"{count:.0f} {unit}{'s' * (count > 1)}" if count >= 10 or count == int(count) else f"{count:.1f} {unit}s"


def count(names: Iterable[str] = GFLOPS) -> Iterator[tuple[str, float]]:
    """The GFLOPs of a forward by name, counted on networks whose tensors have shapes alone."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    for name in names:
        known, network = NETWORKS[name], _built(NETWORKS[name])
        labels: Any = None
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            if known.classes:
                labels = torch.zeros(1, known.classes) if known.form == "edm" else torch.zeros(1, dtype=torch.long)
            network(torch.zeros(1, *known.shape), torch.ones(1), labels)
        yield name, counter.get_total_flops() / 1e9


def _built(known: PublishedNetwork) -> Any:
    import torch

    from ...methods.networks import edm_network
    from ...methods.teachers.forms import Checkpoint, build
    from ...methods.teachers.forms.writing import shapes_of

    if known.form == "edm":
        return edm_network(_edm(known)).eval().to("meta")
    state = {name: torch.zeros(1).expand(shape) for name, shape in shapes_of(known.settings).items()}
    return build(Checkpoint(dict(known.settings), state)).network.eval().to("meta")


def _edm(known: PublishedNetwork) -> dict[str, Any]:
    """The arguments of EDM's training runs, which its files hold and the register does not."""
    own, kind = known.name.startswith("edm-"), known.name.rpartition("-")[2]
    kwargs: dict[str, Any] = {"img_resolution": known.shape[1], "img_channels": 3, "label_dim": known.classes}
    if kind == "adm":
        precond = "EDMPrecond" if own else "iDDPMPrecond"
        kwargs |= {"model_type": "DhariwalUNet", "model_channels": 192, "channel_mult": [1, 2, 3, 4], "num_blocks": 3}
        return {"precond": precond, "kwargs": kwargs | {"attn_resolutions": [32, 16, 8]}}
    mult = [2, 2, 2] if own and known.shape[1] == 32 else [1, 2, 2, 2]
    kwargs |= {"model_type": "SongUNet", "model_channels": 128, "channel_mult": mult, "num_blocks": 4}
    kwargs |= {"attn_resolutions": [16], "augment_dim": 9 * own}
    if kind == "ve":
        kwargs |= {"embedding_type": "fourier", "encoder_type": "residual", "channel_mult_noise": 2}
        kwargs |= {"resample_filter": [1, 3, 3, 1]}
    return {"precond": "EDMPrecond" if own else {"vp": "VPPrecond", "ve": "VEPrecond"}[kind], "kwargs": kwargs}


def main() -> None:
    if "--count" in sys.argv[1:]:
        for name, amount in count():
            print(f'    "{name}": {amount:.3f},', flush=True)
        return
    for name in shipped_names():
        if name.startswith("papers/") or name == "coco-t2i":
            suite = load(name)
            print(f"{name}: {said(suite)} ({hours(suite):.3g} h)")


if __name__ == "__main__":
    main()
