"""What a shell completes: names, looked up when it asks."""

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
