"""Euler's method, which is DDIM without noise."""

from .solver import PACKAGE, SolverOptions, SolverSpec

SPEC = SolverSpec(
    name="euler",
    target=f"{PACKAGE}.euler:euler",
    options=SolverOptions,
    summary="Euler on (x/alpha, sigma/alpha), which is DDIM with eta 0",
    display="Euler (DDIM)",
    papers=("song2021denoising", "karras2022elucidating"),
    stays=True,
)
