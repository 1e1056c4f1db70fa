"""What a GPU gives: the tests that need one, a small suite, and how fast EDM's CIFAR-10 network samples.

    python -m fewstep.bench.benchmarks.gpu_check [--device cpu] [--only tests suite speed] [--images N] [--batch N]

Ten minutes at most on a GPU; on the CPU a reduced size shows that it works. `tests` runs those marked `cuda`. `suite`
runs cifar10-32-smoke on the device, if CIFAR-10 is here. `speed` samples with EDM's network for CIFAR-10
(karras2022elucidating; DDPM++, 56 million weights, random here) in 35 evaluations of Heun: a loop written plainly as in
NVlabs/edm's generate.py, in its precision, beside fewstep's with bf16 in the network alone, channels_last and compile.
Images a second (of CPU time on the CPU, one thread), and how far bf16 moves the samples.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ... import datasets
from ...datasets.registry import ArchiveError
from ...methods import solvers
from ...methods.computing import computed
from ...methods.denoiser import EDMDenoiser
from ...methods.networks.edm import edm_network
from ...methods.paths import EDM
from ...methods.randomness import noise
from ..suite.loading import SHIPPED

STEPS, EVALUATIONS = 18, 35
PARTS = ("tests", "suite", "speed")
CIFAR10: dict[str, Any] = {
    "img_resolution": 32,
    "img_channels": 3,
    "model_type": "SongUNet",
    "model_channels": 128,
    "channel_mult": [2, 2, 2],
    "augment_dim": 9,
}
REDUCED = {"model_channels": 8, "channel_mult": [1, 1, 2], "num_blocks": 1, "attn_resolutions": []}


class Told(nn.Module):
    """F(x, c_noise, condition) of EDM's network."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, c_noise: Tensor, condition: Any = None) -> Tensor:
        F: Tensor = self.model(x, c_noise, None)
        return F


def network(config: dict[str, Any]) -> Any:
    """EDM's network with its preconditioning and random weights; no layer starts near zero."""
    torch.manual_seed(0)
    net = edm_network(config).eval().requires_grad_(False)
    for parameter in net.parameters():
        if float(parameter.abs().max()) < 1e-3:
            nn.init.normal_(parameter, std=0.02)
    return net


@torch.no_grad()
def plain(net: Any, latents: Tensor, steps: int = STEPS) -> Tensor:
    """edm_sampler of NVlabs/edm's generate.py without churn: x0 (B, ...) in float64 from unit noise (B, ...)."""
    sigma_min, sigma_max, rho = 0.002, 80.0, 7
    i = torch.arange(steps, dtype=torch.float64, device=latents.device)
    t = (sigma_max ** (1 / rho) + i / (steps - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    t = torch.cat([t, torch.zeros_like(t[:1])])
    x = latents.to(torch.float64) * t[0]
    for k in range(steps):
        d = (x - net(x.float(), t[k].float().expand(len(x))).double()) / t[k]
        ahead = x + (t[k + 1] - t[k]) * d
        if k < steps - 1:
            d_ahead = (ahead - net(ahead.float(), t[k + 1].float().expand(len(x))).double()) / t[k + 1]
            ahead = x + (t[k + 1] - t[k]) * (d + d_ahead) / 2
        x = ahead
    return x


def images_per_second(sample: Callable[[Tensor], Tensor], start: Tensor, batches: int) -> float:
    """After one batch that is not counted."""
    sample(start)
    began = _now(start)
    for _ in range(batches):
        sample(start)
    return batches * len(start) / (_now(start) - began)


def _now(like: Tensor) -> float:
    if like.device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(like.device)
    return time.perf_counter()


def speed(device: str, images: int, batch: int) -> None:
    on_gpu = device == "cuda"
    if not on_gpu:
        torch.set_num_threads(1)
    net = network(CIFAR10 if on_gpu else {**CIFAR10, **REDUCED}).to(device)
    fast = EDMDenoiser(Told(net.model), 0.5, EDM()).to(device)
    solver = solvers.get("heun", grid={"spacing": "karras", "end": "append-zero"})
    start, batches = noise(0, "start", range(batch), (3, 32, 32)).to(device), max(1, images // batch)

    def sample(denoiser: EDMDenoiser) -> Callable[[Tensor], Tensor]:
        return lambda x: solver.sample(denoiser, x, nfe=EVALUATIONS)

    exact = plain(net, start)
    same = (sample(fast)(start) - exact).abs().max() / exact.abs().max()
    print(f"fewstep's samples differ from the plain loop's by {float(same):.1e} of the largest value")
    slow = images_per_second(lambda x: plain(net, x), start, batches)
    print(f"plain loop, float32: {slow:.2f} images/s")
    own = images_per_second(sample(fast), start, batches)
    print(f"fewstep, float32: {own:.2f} images/s, {own / slow:.2f} times as many")
    options = "bf16, channels_last" + ", compile" * on_gpu
    with computed([fast.network], "bf16", channels_last=True, compile=on_gpu):
        own = images_per_second(sample(fast), start, batches)
        moved = (sample(fast)(start) - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    print(f"fewstep, {options}: {own:.2f} images/s, {own / slow:.2f} times as many (goal on a GPU: 1.5)")
    print(f"bf16 in the network moves samples by {float(moved):.1e} of their size")


def tests() -> int:
    file = Path(__file__).parents[2] / "tests" / "bench" / "test_cuda.py"
    if not file.exists():
        print(f"no tests: {file} is part of the repository alone")
        return 0
    return subprocess.run([sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "cuda", str(file)]).returncode


def suite(device: str) -> int:
    try:
        datasets.get("cifar10")
    except ArchiveError as error:
        print(f"cifar10-32-smoke is left out: {error}")
        return 0
    text = (SHIPPED / "cifar10-32-smoke.yaml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gpu.yaml"
        file.write_text(text.replace("device: cpu", f"device: {device}"), encoding="utf-8")
        command = "from fewstep.bench.commands.main import main; main()"
        return subprocess.run([sys.executable, "-c", command, "run", str(file), "--out", folder]).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--images", type=int, help="to time, of each loop; 2048, or 2 on the CPU")
    parser.add_argument("--batch", type=int, help="256, or 2 on the CPU")
    given = parser.parse_args()
    on_gpu = given.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.exit("torch sees no GPU: give --device cpu for a reduced run")
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name() if on_gpu else 'the CPU'}", flush=True)
    failed = 0
    if "tests" in given.only:
        failed |= tests()
    if "suite" in given.only:
        failed |= suite(given.device)
    if "speed" in given.only:
        speed(given.device, given.images or (2048 if on_gpu else 2), given.batch or (256 if on_gpu else 2))
    sys.exit(failed)


if __name__ == "__main__":
    main()
