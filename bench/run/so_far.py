"""The best results of a run that is under way, in a few words. No torch."""

from ...reports.budgets import ELSEWHERE
from ..metrics.register import METRICS
from ..plan.cells import Cell, Plan
from ..plan.kinds import Scored
from ..plan.task import Task
from ..store import Artifact

SHOWN = 3
"""So many NFEs."""


class SoFar:
    """By the suite's first metric, each value of one seed: best fd_digits at NFE 4 unipc-3 5.07. Rows that were made
    elsewhere do not compete.
    """

    def __init__(self, plan: Plan) -> None:
        self.metric = plan.suite.metrics[0]
        self._sign = -1 if METRICS[self.metric].higher_is_better else 1
        self._cells: dict[str, list[Cell]] = {}
        for cell in plan.cells:
            if cell.score is not None and cell.budget not in ELSEWHERE:
                self._cells.setdefault(cell.score.name, []).append(cell)
        here = (cell for cell in plan.cells if cell.budget not in ELSEWHERE)
        self._problems = len({(cell.dataset, cell.teacher) for cell in here})
        self._best: dict[tuple[str, str, int], tuple[float, str]] = {}

    def __call__(self, task: Task, artifact: Artifact) -> str:
        """Take a score in; empty before the first."""
        if task.kind == "score" and (value := self._value(artifact)) is not None:
            for cell in self._cells.get(task.name, []):
                key, found = (cell.dataset, cell.teacher, cell.nfe), (value, cell.method)
                self._best[key] = min((self._best.get(key, found), found), key=lambda pair: self._sign * pair[0])
        words = [self._named(*item) for item in sorted(self._best.items())[:SHOWN]]
        return f"best {self.metric} {', '.join(words)}" if words else ""

    def _value(self, artifact: Artifact) -> float | None:
        measured = artifact.answer(Scored).metrics.get(self.metric)
        return None if measured is None else measured.value

    def _named(self, key: tuple[str, str, int], found: tuple[float, str]) -> str:
        place = f"on {key[0]} {key[1]} " if self._problems > 1 else ""
        return f"{place}at NFE {key[2]} {found[1]} {found[0]:.3g}"
