"""Method: what a leaderboard row is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from .denoiser import Condition, Denoiser
from .on_host import OnHost

Draws = Callable[[int], Tensor]
"""draws(j): the j-th fresh unit noise of a stochastic sampler, (B, ...), the same for every batch size."""


class Diverged(Exception):
    """Raised by a training step whose student can no longer become anything; the message says why."""


class Watched(NamedTuple):
    """A number () of a training step; `wrong` says, from its value, why training cannot go on, None if it can."""

    value: Tensor
    wrong: Callable[[float], str | None]


class Trainable(LightningModule):
    """What the training runner drives: a loss per step, optimisers, averages, a schedule in budget spent.

    The runner sets `spent` (the share of the budget used before this step, 0 to 1) and scales every
    optimiser's learning rate by `learning_rate_factor` before each step. `quality` is set where the options
    ask for it (`needs_quality`): the suite's Fréchet distance of samples (N, ...), lower is better.
    """

    batch_size: int
    spent: float = 0.0
    finished: bool = False
    """Set by a method that has nothing more to learn: training ends after this step, whatever the budget."""
    quality: Callable[[Tensor], float] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Lightning notes here which hook runs, 40 times a step, and a module's way to set takes ten times as long."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What a step draws on the CPU as a function of (seed, step) alone, given its batch: what may be made ahead."""
        return {}

    def draws_of(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """`drawn`, which comes with the batch where it was made ahead."""
        drawn: dict[str, Any] = batch["drawn"] if "drawn" in batch else self.drawn(batch)
        return drawn

    def watched(self) -> list[Watched]:
        """What the last step wants looked at beside its loss. The runner does so some steps later."""
        return []

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """The factor on the base learning rate at optimiser step `step` (from 0)."""
        return 1.0

    def step_kind(self, step: int) -> str:
        """What the next step does: steps of one kind run the same networks on the same shapes, hence cost the same.

        The runner measures the FLOPs of the first step of each kind and charges them for every other. It counts
        the forwards of every step and measures the FLOPs of some: a run whose steps of one kind cost differently
        fails. Steps whose cost cannot be known before, such as an adaptive solver's, are each a kind of their own.
        """
        return "step"

    def finished_nfes(self, spent: float) -> tuple[int, ...]:
        """The NFEs whose students a run makes no better once this share of the budget is used.

        The runner keeps the ledger as it stood when each was finished; all others cost the whole run.
        """
        return ()

    def update_averages(self) -> None:
        """Called after each optimiser step."""

    def result(self) -> nn.Module:
        """The module whose weights are what training made."""
        raise NotImplementedError

    def learned(self) -> list[tuple[str, list[float]]]:
        """The numbers that were learned, by name, where they are few enough to draw; first what they stand against."""
        return []

    def trainable_count(self) -> int:
        """How many numbers training may set."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


class Method(OnHost, Trainable):
    """A frozen teacher and a way to sample; trained methods add Trainable's steps.

    The teacher is not a submodule: it stays in eval mode, out of the optimiser and out of checkpoints.
    """

    teacher: Denoiser

    def __init__(self, teacher: Denoiser, seed: int = 0) -> None:
        super().__init__()
        self.__dict__["teacher"] = teacher.requires_grad_(False).eval()
        self.seed = seed

    def condition_of(self, batch: Mapping[str, Any]) -> Condition:
        """A training batch's labels or prompts for a conditional teacher, None for an unconditional one."""
        return batch["labels"] if self.teacher.conditional else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Method":
        self.teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 (B, ...) in exactly `nfe` evaluations per sample from unit noise (B, ...)."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What a saved file says of the method beside its options."""
        return {}

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return self.sample(batch["noise"], batch["nfe"], batch.get("condition"), batch.get("draws"))


class TrainingFree(Method):
    """A solver as a row: nothing to train."""

    def __init__(self, teacher: Denoiser, solver: Any) -> None:
        super().__init__(teacher)
        self.solver = solver

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.solver.sample(self.teacher, noise, nfe=nfe, condition=condition, draws=draws)
