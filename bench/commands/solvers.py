"""`fewstep solvers`: the training-free solvers, and their orders of accuracy."""

import click

from .list import print_names


@click.command(short_help="List the training-free solvers.")
@click.option("--orders", is_flag=True, help="Measure each solver's order of accuracy on laws with a known solution.")
def solvers(orders: bool) -> None:
    """List the training-free solvers."""
    if not orders:
        return print_names("solvers")
    from ..benchmarks.solver_orders import table

    table(click.echo)
