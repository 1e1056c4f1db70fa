"""What a shell completes: names, looked up when it asks."""

from collections.abc import Callable

import click


def complete_name(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Every name that begins so."""
    from .catalogue import SHELVES

    names = {name for shelf in SHELVES.values() for name in shelf.names()}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_suite(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Every shipped suite whose name begins so."""
    from ..suite.loading import shipped_names

    return [name for name in shipped_names() if name.startswith(incomplete)]


def complete_of(*kinds: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Every name of these kinds, as `fewstep list` calls them, that begins so, after the last comma."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from .catalogue import SHELVES

        before, comma, begun = incomplete.rpartition(",")
        names = {name for kind in kinds for name in SHELVES[kind].names()}
        return [before + comma + name for name in sorted(names) if name.startswith(begun)]

    return complete


complete_dataset = complete_of("datasets")
complete_metric = complete_of("metrics")
complete_method = complete_of("methods")
complete_solver = complete_of("solvers")
