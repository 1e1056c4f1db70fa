"""What a solver costs over its network calls, beside the same sampling loop in diffusers where it has the solver.

    python -m fewstep.bench.benchmarks.solver_overhead [--repeats N] [--nfe N]

One process, one thread, batch 64: a small U-Net that predicts eps on DDPM's discrete path. Each figure is
the time of the whole loop over the time inside its network calls, the least of several runs: both are of
one run, so that a machine that is busy with other work does not change it.
"""

import argparse
import importlib
import itertools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...methods import solvers
from ...methods.denoiser import NetworkDenoiser
from ...methods.networks.unet import SmallUNet
from ...methods.paths import VPDiscrete

SHAPE = (64, 3, 32, 32)

DIFFUSERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "ddpm": ("DDPMScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpmpp-2m": ("DPMSolverMultistepScheduler", {"solver_order": 2}),
    "dpmpp-3m": ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    "dpm-solver-2": ("DPMSolverSinglestepScheduler", {"solver_order": 2, "algorithm_type": "dpmsolver++"}),
    "deis-tab2": ("DEISMultistepScheduler", {"solver_order": 2}),
    "deis-rhoab2": ("DEISMultistepScheduler", {"solver_order": 3}),
    "pndm": ("PNDMScheduler", {}),
    "ipndm": ("IPNDMScheduler", {}),
    "unipc-2": ("UniPCMultistepScheduler", {"solver_order": 2}),
    "unipc-3": ("UniPCMultistepScheduler", {"solver_order": 3}),
}
"""Our name -> the scheduler nearest to it; DEIS in diffusers is in log rho, and its DPM-Solver-2 is the ++ one."""


class Labelled(nn.Module):
    """The network by label rather than by the path's time; it counts its calls and the seconds in them."""

    def __init__(self, network: nn.Module, path: VPDiscrete) -> None:
        super().__init__()
        self.network, self.path = network, path
        self.calls, self.seconds = 0, 0.0

    def forward(self, x: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        started = time.perf_counter()
        eps: Tensor = self.network(x, t * self.path.labels - 1, condition)
        self.seconds += time.perf_counter() - started
        self.calls += 1
        return eps


def ours(name: str, nfe: int, network: Labelled, noise: Tensor) -> Callable[[], Any]:
    solver, denoiser = solvers.get(name), NetworkDenoiser(network, network.path, "eps")
    return lambda: solver.sample(denoiser, noise, nfe=nfe)


def theirs(name: str, nfe: int, network: Labelled, noise: Tensor) -> Callable[[], Any]:
    diffusers = importlib.import_module("diffusers")
    kind, options = DIFFUSERS[name]
    # PNDM and Heun evaluate more than once in some steps.
    steps = {"pndm": nfe - 9, "heun": (nfe + 1) // 2}.get(name, nfe)

    def loop() -> None:
        scheduler = getattr(diffusers, kind)(**options)
        scheduler.set_timesteps(steps)
        x = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, t)
            eps = network(scaled, ((t + 1) / 1000).float().expand(len(x)))
            x = scheduler.step(eps, t, x).prev_sample

    return loop


def least_ratio(loop: Callable[[], Any], network: Labelled, repeats: int) -> str:
    """Least of time of the loop over time in the network, and the calls."""
    ratios = []
    for _ in range(repeats):
        network.calls, network.seconds = 0, 0.0
        started = time.perf_counter()
        loop()
        ratios.append((time.perf_counter() - started) / network.seconds)
    return f"{min(ratios):.4f} ({network.calls})"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a solver costs over its network calls")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nfe", type=int, default=13, help="the next NFE from here that a solver can spend")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, noise = Labelled(SmallUNet(SHAPE[1]).eval(), VPDiscrete()), torch.randn(SHAPE)
    print("solver           fewstep (calls)  diffusers (calls)")
    with torch.no_grad():
        for name in arguments.only or [name for name in solvers.names() if name != "rk45"]:
            nfe = next(n for n in itertools.count(arguments.nfe) if not solvers.specs()[name].refusal(n))
            own = least_ratio(ours(name, nfe, network, noise), network, arguments.repeats)
            other = "-"
            if name in DIFFUSERS:
                other = least_ratio(theirs(name, nfe, network, noise), network, arguments.repeats)
            print(f"{name:<16} {own:<16} {other}", flush=True)


if __name__ == "__main__":
    main()
