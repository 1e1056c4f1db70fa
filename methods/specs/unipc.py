"""UniPC, a predictor and corrector."""

from typing import Literal

from pydantic import Field

from .multistep import OrdersOptions
from .solver import PACKAGE, SolverSpec


class UniPCOptions(OrdersOptions):
    """UniPC (Zhao et al. 2023)."""

    variant: Literal["bh1", "bh2"] = Field(
        "bh2", description="B(h) of the paper's section 3: h (bh1) or e^h - 1 (bh2, the authors' default)."
    )
    prediction: Literal["data", "noise"] = Field("data", description="Whether D (data) or eps (noise) is extrapolated.")
    lower_order_final: bool = Field(True, description="Whether the last steps fall to orders 2 and 1.")
    corrector: Literal["unic", "none"] = Field(
        "unic", description="Whether UniC follows each step but the last; none is the predictor UniP alone."
    )


SPECS = tuple(
    SolverSpec(
        name=f"unipc-{k}",
        target=f"{PACKAGE}.unipc:unipc",
        options=UniPCOptions,
        summary=f"UniPC-{k} (Zhao et al. 2023)",
        order=k,
        display=f"UniPC-{k}",
        papers=("zhao2023unipc",),
    )
    for k in (1, 2, 3)
)
