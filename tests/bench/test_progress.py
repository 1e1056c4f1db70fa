"""What a run shows while it goes on: the clock is a number that the tests set."""

import io
import re
from types import SimpleNamespace

import pytest

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kinds import ScoreParams
from fewstep.bench.plan.task import Task
from fewstep.bench.run import runner
from fewstep.bench.run.estimate import Estimate, rounded
from fewstep.bench.run.progress import Progress, Verbosity
from fewstep.bench.run.so_far import SoFar
from fewstep.bench.suite.loading import checked
from fewstep.reports.status import Kind, Status


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """What is to be seen after all control sequences."""
        lines = [""]
        for part in re.split(r"(\x1b\[\d+F\x1b\[J|\n)", self.getvalue()):
            if part.startswith("\x1b"):
                lines = [*lines[: -1 - int(re.search(r"\d+", part)[0])], ""]
            elif part == "\n":
                lines.append("")
            else:
                lines[-1] += part
        return lines[:-1]


class Params(ScoreParams):
    """Of a task of which only kind, cost and name matter."""


def task(i, kind="score", cost=1000.0):
    asked = Params(metrics=[], rounding=str(i), device="cpu")
    object.__setattr__(asked, "kind", kind)
    return Task(asked, cost=cost, label=f"{kind} {i}")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def screen():
    return Terminal()


def test_the_screen_changes_each_second_without_any_event(clock, screen):
    progress = Progress(screen, clock=clock)
    with progress.over([task(0)]):
        assert screen.screen() == ["0:00, starting workers"]
        seen = []
        for clock.now in (1.0, 2.0, 3.0):
            progress.tick()
            seen += screen.screen()
    assert seen == ["0:01, starting workers", "0:02, starting workers", "0:03, starting workers"]


def test_a_tick_before_a_second_is_over_draws_nothing(clock, screen):
    progress = Progress(screen, clock=clock)
    with progress.over([task(0)]):
        drawn = screen.getvalue()
        clock.now = 0.9
        progress.tick()
        assert screen.getvalue() == drawn


def test_each_worker_has_a_line_that_fits_the_terminal(clock, screen, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    tasks = [task("a" * 100), task("b")]
    progress = Progress(screen, clock=clock)
    with progress.over(tasks):
        for each, share in zip(tasks, (0.25, 0.5), strict=True):
            progress.started(each)
            progress.advanced(each, share)
        clock.now = 1.0
        progress.tick()
        head, one, two = screen.screen()
    assert re.match(r"0:01, 37 %.*0 of 2 tasks", head)
    assert one.startswith("   25% score aaa")
    assert two == "   50% score b"
    assert max(map(len, (head, one, two))) < 40


def test_no_share_is_over_100_and_none_goes_back(clock):
    (only,) = [task(0)]
    estimate = Estimate([only])
    estimate.started(only, 0.0)
    shares = []
    for second, share in enumerate((0.5, 1.7, 0.2, float("nan"), -3.0)):
        estimate.advanced(only, share, float(second))
        shares.append(estimate.share)
    assert shares == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_nothing_is_said_about_the_rest_before_a_twentieth_is_done():
    (only,) = [task(0)]
    estimate = Estimate([only])
    estimate.started(only, 0.0)
    estimate.advanced(only, 0.04, 1.0)
    assert estimate.seconds_left is None
    estimate.advanced(only, 0.06, 1.5)
    assert estimate.seconds_left == pytest.approx(23.5, rel=0.05)


def test_each_kind_of_task_has_a_rate_of_its_own():
    """Trainings ten times as slow as samples, all of one cost, on one worker; most trainings are left."""
    tasks = {kind: [task(i, kind) for i in range(4)] for kind in ("sample", "train")}
    estimate, now = Estimate([*tasks["sample"], *tasks["train"]]), 0.0
    for kind, seconds, done in (("train", 10.0, 1), ("sample", 1.0, 3)):
        for each in tasks[kind][:done]:
            estimate.started(each, now)
            now += seconds
            estimate.advanced(each, 1.0, now)
            estimate.stopped(each)
    assert estimate.seconds_left == pytest.approx(3 * 10 + 1, rel=0.01)


def test_tasks_without_evaluations_say_nothing_of_those_with():
    """Ten tasks of a second that evaluate nothing, before one of a million evaluations that takes a hundred."""
    short, long = [task(i, "score", cost=0) for i in range(10)], task(0, "train", cost=1e6)
    estimate = Estimate([*short, long])
    for second, each in enumerate(short):
        estimate.started(each, float(second))
        estimate.advanced(each, 1.0, second + 1.0)
        estimate.stopped(each)
    estimate.started(long, 10.0)
    estimate.advanced(long, 0.06, 16.0)
    assert estimate.seconds_left == pytest.approx(94, rel=0.01)
    other = task(1, "sample", cost=1e6)
    estimate = Estimate([*short, long, other])
    estimate.started(long, 0.0)
    estimate.advanced(long, 1.0, 100.0)
    estimate.stopped(long)
    estimate.started(short[0], 100.0)
    estimate.advanced(short[0], 1.0, 150.0)
    assert estimate.seconds_left == pytest.approx(100 + 9 * 50, rel=0.01)


def test_a_teacher_that_is_read_says_nothing_of_one_that_is_trained():
    """Twelve seconds for a file, then a quarter of a million evaluations in twenty-five."""
    given, trained = task(0, "teacher", cost=0), task(1, "teacher", cost=1e6)
    students = task(0, "train", cost=1e6)
    estimate = Estimate([given, trained, students])
    estimate.started(given, 0.0)
    estimate.advanced(given, 1.0, 12.0)
    estimate.stopped(given)
    estimate.started(students, 12.0)
    estimate.advanced(students, 0.25, 37.0)
    assert estimate.seconds_left == pytest.approx(75 + 100, rel=0.01)


def test_the_rate_follows_a_machine_that_becomes_slower():
    only = task(0, cost=1e6)
    estimate = Estimate([only])
    estimate.started(only, 0.0)
    for i in range(1, 101):
        estimate.advanced(only, i / 1000, float(i))
    for i in range(1, 61):
        estimate.advanced(only, 0.1 + i / 1000, 100.0 + 10 * i)
    assert estimate.seconds_left == pytest.approx(840 * 10, rel=0.05)


def test_one_long_task_is_not_divided_among_idle_workers():
    long, short = task(0, cost=10_000), task(1)
    estimate = Estimate([long, short])
    for each in (long, short):
        estimate.started(each, 0.0)
    estimate.advanced(short, 1.0, 1.0)
    estimate.stopped(short)
    estimate.advanced(long, 0.1, 1.0)
    assert estimate.seconds_left == pytest.approx(9.0, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(20, "under a minute"), (283, "about 5 min"), (1500, "about 25 min"), (1600, "about 30 min"), (9000, "about 3 h")],
)
def test_times_are_rounded(seconds, words):
    assert rounded(seconds) == words


def test_a_file_gets_a_line_each_half_minute(clock):
    file = io.StringIO()
    progress = Progress(file, clock=clock)
    only = task(0)
    with progress.over([only]):
        progress.started(only)
        for second in range(1, 100):
            clock.now = float(second)
            progress.advanced(only, second / 100)
            progress.tick()
    first, *beats, last = file.getvalue().splitlines()
    assert first == "0:00, starting workers"
    assert [line.split(",")[0] for line in beats] == ["0:30", "1:00", "1:30"]
    assert beats[1] == "1:00, 60 %, under a minute left, 0 of 1 tasks,  60% score 0"
    assert last == "0 of 1 tasks in 1:39"
    assert "\x1b" not in file.getvalue()


def test_verbose_has_a_line_for_each_task_and_quiet_none(clock):
    written = {}
    for verbosity in Verbosity:
        file = io.StringIO()
        progress = Progress(file, verbosity, clock)
        with progress.over([task(0)]):
            progress.started(task(0))
            progress.finished(task(0), None)
        written[verbosity] = file.getvalue()
    assert written[Verbosity.QUIET] == ""
    assert "started  score 0" in written[Verbosity.VERBOSE]
    assert "finished score 0" in written[Verbosity.VERBOSE]
    assert "finished" not in written[Verbosity.NORMAL]


def test_ten_equal_failures_are_one_line_and_their_number(clock):
    file = io.StringIO()
    progress = Progress(file, clock=clock)
    tasks = [task(i) for i in range(10)]
    with progress.over(tasks):
        for each in tasks:
            progress.started(each)
            progress.failed(each, f"failed: ValueError: no (see store/{each.name}/log.txt)")
    lines = [line for line in file.getvalue().splitlines() if "FAILED" in line]
    assert len(lines) == 2
    assert tasks[0].name in lines[0]
    assert lines[1].startswith("FAILED   10 tasks: failed: ValueError: no")
    assert "10 of 10 tasks" in file.getvalue()


SUITE = """
name: mine
datasets: digits
teachers: {name: shipped, file: digits-unet-128k}
budgets: {evaluations: 1000}
nfe: [1, 2]
seeds: [1, 0]
metrics: [fd_digits, rmse]
methods: [{name: consistency}, {name: euler}, {name: progressive}, {name: dpmpp-2m}]
"""


class Instant:
    """An executor that notes what it is given and has done it at once."""

    has_room = True

    def __init__(self):
        self.running, self.done = [], []

    def submit(self, task):
        self.running.append(task)

    def events(self, timeout):
        while self.running:
            self.done.append(self.running.pop())
            yield "done", self.done[-1].name, None

    def close(self):
        pass


class OneRoom(Instant):
    @property
    def has_room(self):
        return not self.running


def order(plan):
    """The tasks as one worker does them."""
    held, executor = set(), OneRoom()
    store = SimpleNamespace(sound=lambda name: SimpleNamespace() if name in held else None, tidy=lambda: None)

    def submit(task, add=executor.submit):
        held.add(task.name)
        add(task)

    executor.submit = submit
    runner.run(plan.tasks(), store, lambda count: executor, Progress(io.StringIO()))
    return executor.done


def test_results_come_early():
    """Solvers before any training, each student's scores before the next training, a seed before the next."""
    done = [task.label for task in order(make_plan(checked("mine", SUITE)))]
    scores = [label for label in done if label.startswith("score")]
    solvers = [f"score {m} NFE {n} seed" for m in ("euler", "dpmpp-2m") for n in (1, 2)]
    students = [f"score {m} NFE {n} seed" for m in ("consistency", "progressive") for n in (1, 2)]
    assert scores == [f"{words} {seed}" for seed in (1, 0) for words in (*solvers, *students)]
    first_training = next(i for i, label in enumerate(done) if label.startswith("train"))
    assert done.index("score dpmpp-2m NFE 2 seed 1") < first_training
    assert done.index("score consistency NFE 2 seed 1") < done.index("train progressive seed 1, 1000 evaluations")


def test_the_best_so_far_is_said_as_soon_as_there_is_a_score(clock, screen):
    plan = make_plan(checked("mine", SUITE))
    best = SoFar(plan)
    cells = {(cell.method, cell.nfe, cell.seed): cell.score for cell in plan.cells}

    def scored(value):
        return SimpleNamespace(
            answer=lambda model: SimpleNamespace(metrics={"fd_digits": SimpleNamespace(value=value)})
        )

    progress = Progress(screen, clock=clock, so_far=best)
    with progress.over(plan.tasks()):
        for key, value in {("euler", 2, 1): 25.2, ("dpmpp-2m", 2, 1): 5.07, ("euler", 1, 1): None}.items():
            progress.started(cells[key])
            progress.finished(cells[key], scored(value))
        clock.now = 1.0
        progress.tick()
        assert screen.screen()[1] == "so far: best fd_digits at NFE 2 dpmpp-2m 5.07"
    assert "so far" not in screen.screen()[-1]


def test_equal_failures_of_cells_are_one_line(capsys):
    from fewstep.bench.commands.run import _print_failures

    cells = make_plan(checked("mine", SUITE)).cells
    status, other = Status(Kind.FAILED, "no"), Status(Kind.DIVERGED, "")
    _print_failures([*((cell, status) for cell in cells[:10]), (cells[-1], other)])
    one, two = capsys.readouterr().err.splitlines()
    assert one.startswith("fewstep: consistency NFE 1 seed 1 and 9 more cells: failed: no")
    assert two.startswith("fewstep: dpmpp-2m NFE 2 seed 0: diverged")
