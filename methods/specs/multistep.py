"""What multistep solvers have beside a grid: UniC after each step, and the order of each step."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from .solver import SolverOptions

HIGHEST_ORDER = 9
"""Of a step, where a solver has every order: beyond it, the weights are lost in rounding."""


class OrdersOptions(SolverOptions):
    """A solver whose steps may each have an order."""

    highest_order: ClassVar[int] = HIGHEST_ORDER

    orders: tuple[int, ...] | None = Field(
        None,
        description="Order of each step, such as [1, 2, 3, 4, 3, 2], instead of one that rises and, where the solver "
        "says so, falls at the end; the row then has no other NFE (Zhao et al. 2023, order schedules).",
    )

    @field_validator("orders")
    @classmethod
    def _values_are_there(cls, orders: tuple[int, ...] | None) -> tuple[int, ...] | None:
        for i, order in enumerate(orders or ()):
            most = min(i + 1, cls.highest_order)
            if not 1 <= order <= most:
                raise ValueError(f"step {i + 1} can have orders 1 to {most}, not {order}")
        if orders == ():
            raise ValueError("give the order of each step, or leave it out")
        return orders


class CorrectedOptions(SolverOptions):
    """A solver whose steps may be corrected."""

    corrector: Literal["none", "unic-bh1", "unic-bh2"] = Field(
        "none",
        description="UniC after each step but the last, of the step's own order, with B(h) = h (bh1) or e^h - 1 (bh2); "
        "it takes no further evaluation (Zhao et al. 2023).",
    )
