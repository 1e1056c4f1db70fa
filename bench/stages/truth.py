"""The exact ODE solutions from the suite's own noises: what rmse is measured against."""

from safetensors.torch import save_file
from torch import Tensor

from ...methods.denoiser import metered
from ...methods.solvers.rk45 import AdaptiveSolver
from ..plan.kinds import TruthParams, TruthResult
from . import teacher
from .context import Context
from .device import accelerator
from .sample import batches, start_labels, start_noise

SAMPLES = "truth.safetensors"


def run(task: Context[TruthParams]) -> TruthResult:
    params = task.params
    device = accelerator(params.device)
    denoiser = teacher.load(task.inputs, params.guidance, params.labels).to(device)
    solver = AdaptiveSolver(params.tolerance)
    shape, seed = teacher.sample_shape(task.inputs["teacher"]), params.seed

    def solve(rows: range) -> Tensor:
        labels = start_labels(denoiser, seed, rows, device)
        return solver.sample(denoiser, start_noise(seed, rows, shape).to(device), condition=labels)

    with metered() as meter:
        solved = batches(params.samples, solve, task.on_progress)
    save_file({"x0": solved}, task.folder / SAMPLES)
    return TruthResult(samples=params.samples, nfe_mean=meter.evaluations / params.samples)
