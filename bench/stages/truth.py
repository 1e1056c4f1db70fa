"""The exact ODE solutions from the suite's own noises: what rmse is measured against."""

from ...methods.denoiser import metered
from ...methods.solvers.rk45 import AdaptiveSolver
from ..plan.kinds import TruthParams, TruthResult
from ..store import Artifact
from . import sample, shards, teacher
from .context import Context
from .device import accelerator
from .shards import Batch, Shards

SAMPLES = "truth"


def run(task: Context[TruthParams]) -> TruthResult:
    params = task.params
    device = accelerator(params.device)
    denoiser = teacher.load(task.inputs, params.guidance, params.labels).to(device)
    solver = AdaptiveSolver(params.tolerance)
    shape, seed = teacher.sample_shape(task.inputs["teacher"]), params.seed

    def solve(rows: range) -> Batch:
        labels = sample.start_labels(denoiser, seed, rows, device)
        noise = sample.start_noise(seed, rows, shape).to(device)
        with metered() as meter:
            solved = solver.sample(denoiser, noise, condition=labels).cpu()
        return Batch({sample.FLOATS: solved}, {"evaluations": meter.evaluations})

    size = sample.batch_size(device, shape)
    took = shards.write(task.folder, SAMPLES, params.samples, shape, size, solve, task.on_progress)
    return TruthResult(samples=params.samples, nfe_mean=sum(batch["evaluations"] for batch in took) / params.samples)


def load(artifact: Artifact) -> Shards:
    """The exact solutions (N, ...) of an artifact."""
    return Shards(artifact, SAMPLES, sample.FLOATS, artifact.answer(TruthResult).samples)
