"""A teacher that the suite trains itself: a small network with EDM preconditioning (Karras et al. 2022, section 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import networks
from ..adam import Adam
from ..denoiser import EDMDenoiser
from ..ema import Average, ramped_ema
from ..method import Trainable
from ..networks.captions import CaptionRows, EncodedCaptions
from ..paths import EDM, expand
from ..prompts import Prompts, PromptTable
from ..randomness import generator
from ..specs.teachers.pretrain import PretrainOptions


def denoiser(
    options: PretrainOptions, shape: Sequence[int], classes: int = 0, captions: Sequence[str] = ()
) -> EDMDenoiser:
    """The untrained denoiser for samples of `shape`, its weights a function of options.seed.

    With options.label_dropout it is conditional on the labels 0 to `classes` - 1, which it reads as `captions` where
    there are some, one for each label. ValueError if there are no labels, or captions that it cannot read.
    """
    if options.label_dropout is not None and classes == 0:
        raise ValueError("label_dropout makes a class-conditional teacher, and the data set has no labels")
    known = 0 if options.label_dropout is None else classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network: Any = networks.build(options.network.model_dump(), shape, known)
        if captions and known:
            network.embed.labels = EncodedCaptions(captions, network.embed.labels.embedding_dim)
    return EDMDenoiser(network, options.sigma_data, EDM(options.sigma_min, options.sigma_max))


def encoder(denoiser: EDMDenoiser) -> EncodedCaptions:
    """The text encoder of an untrained or a trained denoiser that reads captions."""
    network: Any = denoiser.network
    found: EncodedCaptions = network.embed.labels
    return found


def look_up(denoiser: EDMDenoiser, table: PromptTable) -> None:
    """Let a denoiser that reads captions look them up in the table of its frozen text encoder from now on."""
    network: Any = denoiser.network
    network.embed.labels = CaptionRows(table)


def one_each(count: int) -> Prompts:
    """What a data set of `count` captions is sampled and distilled with: all of them."""
    return Prompts(range(count), range(count), count)


class Pretrain(Trainable):
    """EDM's loss: lambda(sigma) |D(x0 + sigma eps; sigma) - x0|^2, ln sigma ~ N(mean, std^2).

    A conditional network sees the labels, or the captions that they number, a share options.label_dropout of them
    replaced by the null label `classes` (Ho & Salimans 2022, algorithm 1).
    """

    def __init__(
        self, options: PretrainOptions, shape: Sequence[int], classes: int = 0, captions: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.options = options
        self.classes = classes
        self.batch_size = options.batch
        self.denoiser = denoiser(options, shape, classes, captions)
        self.average = Average(self.denoiser, ramped_ema(options.ema))

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        rng, count = generator(self.options.seed, "teacher", int(batch["step"])), len(batch["x0"])
        log_sigma = self.options.log_sigma_mean + self.options.log_sigma_std * torch.randn(count, generator=rng)
        noise, share = torch.randn(batch["x0"].shape, generator=rng), self.options.label_dropout
        null = None if share is None else torch.rand(count, generator=rng) < share
        return {"sigma": log_sigma.exp(), "noise": noise, "null": null}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x0, drawn = batch["x0"], self.draws_of(batch)
        sigma = drawn["sigma"].to(x0.device, non_blocking=True)
        noise = drawn["noise"].to(x0, non_blocking=True)
        labels = self._dropped(batch["labels"], drawn["null"])
        error = self.denoiser(x0 + expand(sigma, x0) * noise, sigma, labels) - x0
        weight = 1 / self.options.sigma_data**2 + sigma**-2
        return (weight * error.square().flatten(1).mean(1)).mean()

    def _dropped(self, labels: Tensor, null: Tensor | None) -> Tensor | None:
        """The labels (B,), the null label in the place of those that `null` (B,) says; None if it is unconditional."""
        if null is None:
            return None
        return labels.masked_fill(null.to(labels.device, non_blocking=True), self.classes)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return Adam(self.denoiser.parameters(), self.options.learning_rate, self.options.betas)

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """Warm-up, constant to 30 % of the run, then linear to 2 %."""
        decay = 1.0 if spent < 0.3 else 1 - 0.98 * (spent - 0.3) / 0.7
        return min(1.0, (step + 1) / max(1, self.options.warmup_steps)) * decay

    def update_averages(self) -> None:
        self.average.update_parameters(self.denoiser)

    def result(self) -> nn.Module:
        return self.average.module
