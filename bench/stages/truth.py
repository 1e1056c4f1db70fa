"""The exact ODE solutions from the suite's own noises: what rmse is measured against."""

from typing import Any

from safetensors.torch import save_file

from ...methods.denoiser import metered
from ...methods.solvers.rk45 import AdaptiveSolver
from . import teacher
from .context import Context
from .device import accelerator
from .sample import batches, start_noise

SAMPLES = "truth.safetensors"


def run(task: Context) -> dict[str, Any]:
    params = task.params
    device = accelerator(params["device"])
    denoiser = teacher.load(task.inputs["teacher"]).to(device)
    solver = AdaptiveSolver(params["tolerance"])
    shape = teacher.sample_shape(task.inputs["teacher"])
    with metered() as meter:
        solved = batches(
            params["samples"],
            lambda rows: solver.sample(denoiser, start_noise(params["seed"], rows, shape).to(device)),
            task.on_progress,
        )
    save_file({"x0": solved}, task.folder / SAMPLES)
    return {"samples": params["samples"], "nfe_mean": meter.evaluations / params["samples"]}
