"""Training under a budget: one Lightning fit for teachers, feature networks and methods, resumable at any step.

Counters, averages and the budget live in one callback placed first; data and noise are functions of
(seed, step). A run killed at any moment and started again ends with the same weights and the same ledger.
"""

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ...datasets.base import Batches, Dataset
from ...methods import ranks
from ...methods.denoiser import Exhausted
from ...methods.method import Diverged, Trainable
from ...methods.portable import rename
from ..errors import OutOfBudget, TaskError
from .ahead import prepared
from .ledger import Ledger
from .memory import held
from .memory import is_measured as memory_is_measured
from .readings import DivergedError as DivergedError
from .readings import Readings
from .step_meter import StepMeter, is_checked
from .tracking import Tracker

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"
CHECKPOINT_SECONDS = 5.0
CHEAP_SECONDS = 0.01 * CHECKPOINT_SECONDS
"""What a checkpoint may take; one that takes longer is written more rarely."""
RECORDS = 100
"""Rows that a run writes to its record, evenly over its budget."""


class BudgetCallback(Callback):
    """Measures, charges, averages, schedules, records, and stops: in this order, after every step."""

    def __init__(self, ledger: Ledger, seed: int, tracker: Tracker, on_progress: Callable[[float], None]) -> None:
        self.ledger, self.seed, self.on_progress = ledger, seed, on_progress
        self.tracker, self.readings = tracker, Readings(tracker)
        self.dropped = ""
        """What the step was that ran past the budget, if one did."""
        self._step: StepMeter | None = None
        self._recorded = -1

    @property
    def begun(self) -> bool:
        """Whether a step was begun in this process."""
        return self._step is not None

    def state_dict(self) -> dict[str, Any]:
        return {"ledger": self.ledger.to_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.ledger.restore(state_dict["ledger"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("base_lr", group["lr"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, Trainable)
        step, spent = self.ledger.steps, self.ledger.spent
        pl_module.spent = spent
        self.ledger.note_students(pl_module.finished_nfes(spent))
        factor = pl_module.learning_rate_factor(step, spent)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
        kind = pl_module.step_kind(step)
        is_new = kind not in self.ledger.step_uses
        flops = is_new or is_checked(self.seed, step, self.ledger.kind_steps[kind])
        memory = memory_is_measured(kind, self.ledger, trainer.optimizers)
        self._step = StepMeter(self.ledger, kind, flops, held(pl_module, trainer.optimizers) if memory else None)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        assert self._step is not None
        self._step.backward_begins()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._step is not None
        self._step.backward_ends()
        ranks.average_gradients(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        assert self._step is not None
        self._step.check()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Trainable)
        assert self._step is not None
        step, uses = self._step, self._step.measured()
        pl_module.update_averages()
        step.close()
        self.ledger.charge(step.kind, len(batch["x0"]), step.seconds, step.forwards, uses)
        if step.peak_bytes is not None:
            self.ledger.peak_bytes[step.kind] = step.peak_bytes
        pl_module.spent = self.ledger.spent
        if pl_module.finished or not self.ledger.affords(pl_module.step_kind(self.ledger.steps), pl_module.batch_size):
            trainer.should_stop = True
        row = self._row(trainer)
        self.readings.add(self.ledger.steps, outputs["loss"].detach(), pl_module.watched(), row)
        if trainer.should_stop:
            self.readings.read()
        if row is not None:
            self.tracker.look(self.ledger.steps, 1.0 if trainer.should_stop else self.ledger.spent)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._step is None:
            return
        if isinstance(exception, Exhausted):
            self._drop(self._step)
        self._step.close()

    def _drop(self, step: StepMeter) -> None:
        uses = step.taken()
        self.ledger.drop(uses, step.seconds)
        most = max(uses, key=uses.__getitem__, default="")
        share = f", {uses[most] / sum(uses.values()):.0%} for {most}" if most else ""
        limit = f"{self.ledger.limit:.6g} {self.ledger.unit}"
        self.dropped = f"one step costs more than is left of the {limit} ({step.kind!r}{share})"

    def _row(self, trainer: Trainer) -> dict[str, Any] | None:
        """The step's row of the record without its loss, None for most steps; with what the method gives to `log`."""
        mark = int(self.ledger.spent * RECORDS)
        if mark <= self._recorded and not trainer.should_stop:
            return None
        self._recorded = mark
        self.on_progress(self.ledger.spent)
        return {
            **{name: value.detach() for name, value in trainer.callback_metrics.items()},
            **_learning_rates(trainer.optimizers),
            "step": self.ledger.steps,
            "budget/evaluations": self.ledger.evaluations,
            "budget/images": self.ledger.images,
            "budget/spent": self.ledger.spent,
            "seconds": self.ledger.seconds,
        }


def _learning_rates(optimizers: list[Any]) -> dict[str, float]:
    """By name; from the second optimiser on with its number."""
    return {f"learning_rate{f'/{i}' if i else ''}": o.param_groups[0]["lr"] for i, o in enumerate(optimizers)}


class CheckpointCallback(Callback):
    """Every few seconds the whole state, written aside and renamed: a kill costs those seconds at most.

    Where writing takes long the pauses are longer, so that it takes about one per cent of the time.
    """

    def __init__(self, path: Path, readings: Readings) -> None:
        self.path, self.readings = path, readings
        self._saved, self._pause = time.monotonic(), CHECKPOINT_SECONDS

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        started = time.monotonic()
        if ranks.is_first() and started - self._saved >= self._pause and not trainer.should_stop:
            self.readings.read()
            aside = self.path.with_suffix(".part")
            trainer.save_checkpoint(aside)
            rename(aside, self.path)
            self._saved = time.monotonic()
            self._pause = CHECKPOINT_SECONDS * max(1.0, (self._saved - started) / CHEAP_SECONDS)


def fit(
    module: Trainable,
    data: Dataset,
    seed: int,
    ledger: Ledger,
    folder: Path,
    tracker: Tracker,
    on_progress: Callable[[float], None] = lambda share: None,
    device: str = "cpu",
) -> None:
    """Train `module` until `ledger` affords no further step, resuming from a checkpoint in `folder`.

    A step that runs past the budget is stopped and dropped: the weights are those before it, and the budget is spent.
    Raises DivergedError where the loss is not finite or the method gives up, TaskError where the budget ends before
    there is a student or where steps of one kind cost differently.
    """
    budget = BudgetCallback(ledger, seed, tracker, on_progress)
    checkpoint = folder / CHECKPOINT
    state = _saved_state(checkpoint)
    start = _steps(state) if state else 0
    trainer = Trainer(
        accelerator=device,
        devices=1,
        max_epochs=-1,
        callbacks=[budget, CheckpointCallback(checkpoint, budget.readings)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    ranks.wait()
    batches = Batches(data, module.batch_size, seed, start)
    module.train()
    try:
        made = prepared(module, batches, device)
        with budget.readings.complete(), _frozen_garbage(), _remembered_devices(), ranks.divided(), made as ready:
            trainer.fit(module, ready, ckpt_path=str(checkpoint) if state else None, weights_only=True)
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        if state is None or budget.begun:
            raise
        checkpoint.unlink(missing_ok=True)
        message = f"{checkpoint} is no checkpoint of this training and was removed; run the same command again"
        raise TaskError(message) from error
    except Diverged as error:
        raise DivergedError(ledger.steps, str(error)) from None
    except Exhausted:
        # What has no optimiser is nothing until it is finished.
        if not (ledger.steps and trainer.optimizers):
            raise OutOfBudget(budget.dropped) from None
        log.info("step %d is dropped: %s", ledger.steps + 1, budget.dropped)
        on_progress(ledger.spent)
    if ranks.is_first():
        checkpoint.unlink(missing_ok=True)


@contextmanager
def _frozen_garbage() -> Iterator[None]:
    """Inside, the garbage collector leaves out what is there already: it takes a tenth of a second per look at it."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _remembered_devices() -> Iterator[None]:
    """Inside, torch asks CUDA how many GPUs there are, which remembers it, and not NVML, as Lightning has it choose.

    Adam asks at every step, and NVML's library is looked for each time: that takes about a millisecond.
    """
    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _steps(state: dict[str, Any]) -> int:
    """The steps that a checkpoint has behind it."""
    return int(state["callbacks"]["BudgetCallback"]["ledger"]["steps"])


def _saved_state(checkpoint: Path) -> dict[str, Any] | None:
    """The checkpoint's content; a file that cannot be read is removed, and training starts from the beginning."""
    if not checkpoint.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location="cpu")
        _steps(state)
        return state
    except Exception as error:  # whatever torch raises for a file that a kill or a disk has damaged
        log.warning("%s cannot be read (%s): training starts again", checkpoint, error)
        checkpoint.unlink()
        return None
