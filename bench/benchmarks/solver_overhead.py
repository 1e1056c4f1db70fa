"""What a solver costs over its network calls, beside the same loop in diffusers and k-diffusion where they have it.

    python -m fewstep.bench.benchmarks.solver_overhead [--repeats N] [--nfe N] [--only SOLVER ...]

One process, one thread, thread CPU time, the allocator set as in a worker. Two networks: a small U-Net on 64 samples of
3x32x32, and the digits' U-Net on one of 1x8x8. In the rows "eps" it predicts eps on DDPM's discrete path, as in
diffusers; in the rows "edm" it has EDM's preconditioning, as in k-diffusion. The loops take turns, and each figure is
of whole runs: their time over the time inside their network calls, and the microseconds outside them per call, least
and median. A run is one batch of many: what a loop keeps from the batch before, a solver's nodes or a made scheduler,
is not made again.
"""

import argparse
import importlib
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...methods import networks, solvers
from ...methods.denoiser import Denoiser, EDMDenoiser, NetworkDenoiser
from ...methods.paths import EDM, VPDiscrete
from ...methods.solvers import grids
from ...methods.specs.solver import Grid
from ...methods.specs.teachers.pretrain import UNetOptions
from ..run.allocator import keep_freed_memory

SHAPES = ((64, 3, 32, 32), (1, 1, 8, 8))
SIGMA_DATA = 0.5

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

K_DIFFUSION: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("sample_euler", {}),
    "heun": ("sample_heun", {}),
    "dpm-solver-2": ("sample_dpm_2", {}),
    "dpmpp-2s": ("sample_dpmpp_2s_ancestral", {"eta": 0.0}),
    "dpmpp-2m": ("sample_dpmpp_2m", {}),
}


class Timed(nn.Module):
    """The network; it counts its calls and the seconds in them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls, self.seconds = network, 0, 0.0

    def forward(self, x: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        started = time.thread_time()
        output: Tensor = self.network(x, t, condition)
        self.seconds += time.thread_time() - started
        self.calls += 1
        return output


Loop = Callable[[], Any]


def ours(name: str, nfe: int, denoiser: Denoiser, noise: Tensor) -> Loop:
    solver = solvers.get(name)
    return lambda: solver.sample(denoiser, noise, nfe=nfe)


def in_diffusers(name: str, nfe: int, network: Timed, noise: Tensor) -> Loop:
    diffusers = importlib.import_module("diffusers")
    kind, options = DIFFUSERS[name]
    # PNDM and Heun evaluate more than once in some steps.
    steps = {"pndm": nfe - 9, "heun": (nfe + 1) // 2}.get(name, nfe)

    scheduler = getattr(diffusers, kind)(**options)

    def loop() -> None:
        scheduler.set_timesteps(steps)
        x = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            eps = network(scheduler.scale_model_input(x, t), t.float().expand(len(x)))
            x = scheduler.step(eps, t, x).prev_sample

    return loop


def in_k_diffusion(name: str, nfe: int, network: Timed, noise: Tensor) -> Loop:
    k_diffusion = importlib.import_module("k_diffusion")
    function, options = K_DIFFUSION[name]
    steps = nfe if name in ("euler", "dpmpp-2m") else (nfe + 1) // 2
    times = grids.times(Grid(), EDM(), steps).float()

    class Inner(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            output: Tensor = network(x, sigma.log() / 4)
            return output

    denoiser = k_diffusion.layers.Denoiser(Inner(), SIGMA_DATA)
    sample = getattr(k_diffusion.sampling, function)
    return lambda: sample(denoiser, noise * times[0], times, disable=True, **options)


class Cost(NamedTuple):
    """One run: its time over the network's, microseconds outside of the network per call, calls."""

    ratio: float
    outside: float
    calls: int


def cost(loop: Loop, network: Timed) -> Cost:
    network.calls, network.seconds = 0, 0.0
    started = time.thread_time()
    loop()
    seconds = time.thread_time() - started
    return Cost(seconds / network.seconds, 1e6 * (seconds - network.seconds) / network.calls, network.calls)


def taking_turns(loops: list[Loop], network: Timed, repeats: int) -> list[list[Cost]]:
    """The runs of each loop, after one of each that does not count."""
    for loop in loops:
        loop()
    rounds = [[cost(loop, network) for loop in loops] for _ in range(repeats)]
    return [list(runs) for runs in zip(*rounds, strict=True)]


def shown(runs: list[Cost]) -> str:
    ratios, outside = [run.ratio for run in runs], [run.outside for run in runs]
    return (
        f"{min(ratios):7.4f} {statistics.median(ratios):7.4f} {min(outside):7.0f} {statistics.median(outside):7.0f}"
        f" {runs[0].calls:4}"
    )


def imported(peers: tuple[str, ...]) -> list[str]:
    """Those of `peers` that can be imported; of the others one line that says why not."""
    found = []
    for peer in peers:
        try:
            importlib.import_module(peer)
        except ImportError as error:
            print(f"without {peer}, which cannot be imported: {' '.join(str(error).split())}", file=sys.stderr)
        else:
            found.append(peer)
    return found


def table(shape: tuple[int, ...], names: list[str], least_nfe: int, repeats: int, peers: list[str]) -> None:
    """Print what every solver costs on `shape`, as eps on a discrete path and as EDM, beside those of `peers`."""
    torch.manual_seed(0)
    network = Timed(networks.build(UNetOptions().model_dump(), shape[1:]).eval())
    noise = torch.randn(shape)
    kinds: dict[str, tuple[Denoiser, str, dict[str, Any], Callable[..., Loop]]] = {
        "eps": (NetworkDenoiser(network, VPDiscrete(), "eps"), "diffusers", DIFFUSERS, in_diffusers),
        "edm": (EDMDenoiser(network, SIGMA_DATA, EDM()), "k_diffusion", K_DIFFUSION, in_k_diffusion),
    }
    columns = "  ratio  median      us  median calls"
    print(f"\n{'x'.join(map(str, shape)):<16}      {columns}   peer: {columns}")
    for name, (kind, (denoiser, peer, has, theirs)) in itertools.product(names, kinds.items()):
        nfe = next(n for n in itertools.count(least_nfe) if not solvers.specs()[name].refusal(n))
        loops = [ours(name, nfe, denoiser, noise)]
        if name in has and peer in peers:
            loops.append(theirs(name, nfe, network, noise))
        own, *other = taking_turns(loops, network, repeats)
        print(f"{name:<16} {kind:<4} {shown(own)}   {peer + ' ' + shown(other[0]) if other else '-'}", flush=True)


def main() -> None:
    fixed_steps = [name for name in solvers.names() if name != "rk45"]
    parser = argparse.ArgumentParser(description="What a solver costs over its network calls")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--nfe", type=int, default=13, help="the next NFE from here that a solver can spend")
    parser.add_argument("--only", nargs="+", choices=fixed_steps, metavar="SOLVER")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    peers = imported(("diffusers", "k_diffusion"))
    with torch.no_grad():
        for shape in SHAPES:
            # A run of one small sample is over in some milliseconds.
            table(
                shape,
                arguments.only or fixed_steps,
                arguments.nfe,
                arguments.repeats * (1 if shape[0] > 1 else 5),
                peers,
            )


if __name__ == "__main__":
    main()
