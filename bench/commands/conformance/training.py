"""Properties of trained methods: the charge, resuming, repeating, saving, and what the runner is told."""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ....methods import saved
from ....methods.denoiser import metered
from ....methods.method import Method
from ....methods.options import Options
from ....methods.randomness import generator, seeded
from ...errors import OutOfBudget, TaskError
from ...training import loop
from ...training.ledger import Ledger, forward_flops
from ...training.tracking import NoTracker
from . import sampling, setup
from .properties import Failed, NotApplicable, described, require
from .sampling import Row

STEPS = 20
LEDGER_ERROR = 0.005
"""The share by which the ledger may differ from a FLOP counter."""


class Killed(BaseException):
    """Ends a run as a kill does: nothing catches it."""


@dataclass
class Steps(NoTracker):
    """The record of a run: what each step cost in FLOPs, and its loss; `kill` ends the run in that step."""

    counter: FlopCounterMode | None = None
    kill: int | None = None
    losses: list[float] = field(default_factory=list)
    flops: list[float] = field(default_factory=list)

    def log(self, row: dict[str, Any]) -> None:
        self.losses.append(row["loss"])

    def look(self, step: int, share: float) -> None:
        if self.counter is not None:
            self.flops.append(self.counter.get_total_flops() - sum(self.flops))
        if self.kill is not None and step >= self.kill:
            raise Killed


@dataclass
class Run:
    """One training run: the trained method, its ledger, and what was seen from outside."""

    method: Method
    ledger: Ledger
    steps: Steps
    kinds: dict[int, str]
    flops: float
    teacher_before: dict[str, torch.Tensor]
    error: Exception | None = None


@dataclass
class TrainedRow(Row):
    """A trained method under test. The undisturbed run of 20 steps is made once, for all properties."""

    @property
    def nfe(self) -> int:
        return self.first_nfe(4)

    @cached_property
    def run(self) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            return train(self, Path(folder))

    @cached_property
    def counted_run(self) -> Run:
        """The same under a FLOP counter, which rounds otherwise: its weights are not compared with others."""
        with tempfile.TemporaryDirectory() as folder:
            return train(self, Path(folder), counted=True)

    def ready(self, options: Options | None = None, nfe: int | None = None, conditional: bool = False) -> Method:
        """Untrained where that can be sampled, else after 20 steps."""
        made, nfe = self.made(options, nfe, conditional), self.nfe if nfe is None else nfe
        try:
            setup.sampled(made, nfe, [0])
            return made
        except Exception:  # how a method refuses to be sampled untrained is its own affair
            with tempfile.TemporaryDirectory() as folder:
                run = train(self, Path(folder), options=options, nfe=nfe, conditional=conditional)
            if run.error is not None:
                raise run.error from None
            return run.method

    def finished_run(self) -> Run:
        """The undisturbed run; NotApplicable if it failed, which is a property of its own."""
        if self.run.error is not None:
            raise NotApplicable("it does not train, see above")
        return self.run


def train(
    row: Row,
    folder: Path,
    kill: int | None = None,
    counted: bool = False,
    conditional: bool = False,
    world: int = 0,
    options: Options | None = None,
    nfe: int | None = None,
) -> Run:
    """Train for 20 steps in `folder`, or until killed. world: seeds torch's own generators, which must not matter."""
    with seeded(world, torch.device("cpu")):
        made = row.made(options, nfe or row.first_nfe(4), conditional)
        made.quality = spread
        before = {key: value.clone() for key, value in made.teacher.state_dict().items()}
        counter = FlopCounterMode(display=False) if counted else None
        steps, kinds = Steps(counter, kill), noted_kinds(made)
        ledger = Ledger(STEPS * made.batch_size, "images", unit_flops(row, made))
        error = None
        try:
            with counter if counter is not None else torch.enable_grad():
                loop.fit(made, row.data, made.seed, ledger, folder, steps)
        except Exception as raised:  # the method is somebody else's code, which may raise anything
            error = raised
    total = 0.0 if counter is None else float(counter.get_total_flops())
    return Run(made.eval(), ledger, steps, kinds, total, before, error)


def spread(x0: torch.Tensor) -> float:
    """Stands for the suite's Fréchet distance, where a method asks for it: a number of the samples alone."""
    return float(x0.double().std())


def unit_flops(row: Row, made: Method) -> float:
    denoiser = made.teacher.unwrapped()
    condition = made.teacher.conditions(0, "probe", range(2))
    return forward_flops(denoiser, torch.zeros(2, *row.data.shape), condition)


def noted_kinds(made: Method) -> dict[int, str]:
    """What the method will say each step is, by step, as the runner asks."""
    kinds: dict[int, str] = {}
    ask = made.step_kind

    def step_kind(step: int) -> str:
        kinds[step] = ask(step)
        return kinds[step]

    made.__dict__["step_kind"] = step_kind
    return kinds


def state(made: Method) -> dict[str, torch.Tensor]:
    return made.result().state_dict()


def same(one: Method, other: Method) -> bool:
    """Whether two methods have the same weights, bit for bit."""
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def it_trains(row: TrainedRow) -> None:
    if row.run.error is not None:
        raise Failed(f"training fails: {described(row.run.error)}")
    require(row.run.ledger.steps > 0, "no step was taken")
    finished = row.run.method.finished
    require(finished or row.run.ledger.steps == STEPS, f"{row.run.ledger.steps} steps were taken, not {STEPS}")
    require(all(map(math.isfinite, row.run.steps.losses)), "the loss is not finite: see the learning rate's default")
    require(row.run.ledger.flops > 0, "training costs nothing: the ledger saw no network")


def ledger_is_right(row: TrainedRow) -> None:
    row.finished_run()
    run = row.counted_run
    error = abs(run.ledger.flops - run.flops) / run.flops
    seen = f"the ledger is charged {run.ledger.flops:.4g} FLOPs, a counter around the run counts {run.flops:.4g}"
    require(error <= LEDGER_ERROR, f"{seen}: make step_kind name every kind of step that costs otherwise")


def step_kinds_are_honest(row: TrainedRow) -> None:
    """The steps of a kind cost, together, what as many of its first would."""
    if "step_kind" in str(row.run.error or ""):
        raise Failed(str(row.run.error))
    row.finished_run()
    run = row.counted_run
    by_kind: dict[str, list[tuple[int, float]]] = {}
    for step, flops in enumerate(run.steps.flops):
        by_kind.setdefault(run.kinds[step], []).append((step, flops))
    for kind, costs in by_kind.items():
        first = costs[0][1]
        if abs(sum(flops for _, flops in costs) - first * len(costs)) > LEDGER_ERROR * max(first * len(costs), 1):
            step, flops = max(costs, key=lambda cost: abs(cost[1] - first))
            raise Failed(
                f"step_kind calls steps {costs[0][0]} and {step} {kind!r}, and they cost {first:.4g} and {flops:.4g} "
                "FLOPs: give steps that cost otherwise another kind"
            )


def training_repeats(row: TrainedRow) -> None:
    run = row.finished_run()
    with tempfile.TemporaryDirectory() as folder:
        again = train(row, Path(folder), world=1)
    advice = "draw from generator(self.seed, purpose, step), never from torch's global generators"
    require(again.error is None, f"it trained once and failed the second time: {again.error}")
    require(same(run.method, again.method), f"two runs of one seed end with different weights: {advice}")


def training_resumes(row: TrainedRow) -> None:
    run = row.finished_run()
    if run.ledger.steps < 3:
        raise NotApplicable(f"it finishes in {run.ledger.steps} steps")
    kill = 2 + int(torch.randint(run.ledger.steps - 2, (), generator=generator(0, row.spec.name)))
    with tempfile.TemporaryDirectory() as folder, checkpoints_at_every_step():
        with suppress(Killed):
            train(row, Path(folder), kill=kill, world=2)
        resumed = train(row, Path(folder), world=3)
    if resumed.error is not None:
        raise Failed(f"killed in step {kill} it cannot be resumed: {described(resumed.error)}")
    advice = "keep state in buffers, and draw from generator(self.seed, purpose, step)"
    require(same(run.method, resumed.method), f"killed in step {kill} and resumed, it has other weights: {advice}")
    for name in ("flops", "steps", "images", "uses"):
        one, other = getattr(run.ledger, name), getattr(resumed.ledger, name)
        require(
            one == other, f"killed in step {kill} and resumed, the ledger's {name} are {other}, not {one}: {advice}"
        )


@contextmanager
def checkpoints_at_every_step() -> Iterator[None]:
    """Inside, the training loop writes its checkpoint after every step rather than every few seconds."""
    seconds, loop.CHECKPOINT_SECONDS = loop.CHECKPOINT_SECONDS, 0.0
    try:
        yield
    finally:
        loop.CHECKPOINT_SECONDS = seconds


def saving_keeps_samples(row: TrainedRow) -> None:
    run = row.finished_run()
    options = row.spec.options()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "method.safetensors"
        saved.save(run.method, row.spec.name, options, file, row.nfe if row.spec.per_nfe else None)
        loaded = saved.load(file, setup.teacher(row.data)).eval()
    one, other = (setup.sampled(made, row.nfe, range(4)) for made in (run.method, loaded))
    advice = "everything that sample() needs must be in result()'s state_dict or in the options"
    require(torch.equal(one, other), f"saved and loaded, it samples differently: {advice}")


def trained_samples_are_sound(row: TrainedRow) -> None:
    """Once trained, every claimed NFE can be sampled: exactly, with finite samples that do not depend on the batch."""
    made, options = row.finished_run().method, row.spec.options()
    nfes = [row.nfe] if row.spec.per_nfe else row.claimed(options)
    for nfe in nfes:
        with metered() as meter:
            whole = setup.sampled(made, nfe, range(4))
        taken = meter.evaluations / 4
        require(taken == nfe, f"once trained, NFE {nfe} takes {taken:g} evaluations a sample")
        require(bool(whole.isfinite().all()), f"once trained, samples at NFE {nfe} are not finite")
        part = setup.sampled(made, nfe, range(2, 4))
        near = float((whole[2:] - part).abs().max()) <= sampling.TOLERANCE * float(whole.abs().max().clamp(min=1))
        require(near, f"once trained, sample i at NFE {nfe} depends on the batch that it is in")


def training_leaves_the_teacher(row: TrainedRow) -> None:
    """Neither in the optimiser, nor in checkpoints, nor moved by training; tried even where training fails."""
    run = row.run
    for problem in sampling.teacher_problems(run.method, run.teacher_before):
        raise Failed(problem)
    made = row.made(nfe=row.nfe)
    own = {id(parameter) for parameter in made.teacher.parameters()}
    trained = {id(p) for optimizer in optimizers(made) for group in optimizer.param_groups for p in group["params"]}
    require(not own & trained, "the teacher's weights are in the optimiser: give it the student's parameters")


def optimizers(made: Method) -> list[torch.optim.Optimizer]:
    """The optimisers that configure_optimizers gives, in whichever of Lightning's forms."""
    given: Any = made.configure_optimizers()
    found = given if isinstance(given, list | tuple) else [given]
    flat = [part for item in found for part in (item if isinstance(item, list | tuple) else [item])]
    flat = [item["optimizer"] if isinstance(item, dict) else item for item in flat]
    return [item for item in flat if isinstance(item, torch.optim.Optimizer)]


def labels_train(row: TrainedRow) -> None:
    if not row.spec.conditional:
        raise NotApplicable("its spec does not claim to be conditional")
    with tempfile.TemporaryDirectory() as folder:
        run = train(row, Path(folder), conditional=True)
    if run.error is not None:
        raise Failed(f"training from a class-conditional teacher fails: {described(run.error)}; see `conditional`")
    x0 = setup.sampled(run.method, row.nfe, range(4))
    require(bool(x0.isfinite().all()), "trained from a class-conditional teacher, its samples are not finite")


def reports_are_sane(row: TrainedRow) -> None:
    """result(), learned(), trainable_count() and finished_nfes() are what the runner can use."""
    made, options = row.finished_run().method, row.spec.options()
    require(isinstance(made.result(), nn.Module), "result() is not a module: return what training made")
    weights = state(made)
    require(bool(weights), "result() has no weights: nothing would be saved")
    finite = all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point())
    require(finite, "result() has weights that are not finite")
    require(row.made(nfe=row.nfe).trainable_count() > 0, "no parameter asks for a gradient: nothing is trained")
    for name, numbers in made.learned():
        good = isinstance(name, str) and all(math.isfinite(float(number)) for number in numbers)
        require(good, "learned() is a list of (name, finite numbers)")
    shares = [made.finished_nfes(share / 20) for share in range(21)]
    for earlier, later in pairwise(shares):
        require(set(earlier) <= set(later), "finished_nfes(spent) loses an NFE as more is spent")
    unclaimed = [nfe for nfe in shares[-1] if row.spec.refusal(nfe, options) is not None]
    require(not unclaimed, f"finished_nfes names {unclaimed}, which the spec refuses")


def small_budgets_end(row: TrainedRow) -> None:
    """A budget of a hundredth of a step is a status, not a traceback."""
    run = row.finished_run()
    made = row.made(nfe=row.nfe)
    ledger = Ledger(run.ledger.flops / run.ledger.steps / 100, "flops", unit_flops(row, made))
    try:
        with tempfile.TemporaryDirectory() as folder:
            loop.fit(made, row.data, made.seed, ledger, Path(folder), Steps())
    except TaskError as error:
        require(isinstance(error, OutOfBudget), f"a budget below one step ends as {str(error)!r}")
        return
    except Exception as error:
        raise Failed(f"a budget below one step ends as {described(error)}: spend less, or raise TaskError") from None
    require(ledger.spent <= 1, f"a budget below one step is overspent {ledger.spent:.3g} times without a word")


PROPERTIES: dict[str, Callable[[TrainedRow], None]] = {
    **sampling.PROPERTIES,
    f"it trains for {STEPS} steps": it_trains,
    "the ledger equals a FLOP counter around the run": ledger_is_right,
    "steps of one kind cost the same (step_kind)": step_kinds_are_honest,
    "two runs of one seed have the same weights": training_repeats,
    "killed and resumed, it ends the same": training_resumes,
    "the teacher is not trained": training_leaves_the_teacher,
    "once trained, it samples at each claimed NFE": trained_samples_are_sound,
    "saved and loaded, it samples the same": saving_keeps_samples,
    "it trains from a class-conditional teacher": labels_train,
    "what it reports of itself is usable": reports_are_sane,
    "a budget below one step is `out of budget`": small_budgets_end,
}
