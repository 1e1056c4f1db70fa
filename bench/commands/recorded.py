"""Commands whose words are kept, for the record that a run leaves."""

import click


class Recorded(click.Command):
    """A command that puts the command line where `words` finds it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[Recorded.__name__] = ["fewstep", str(ctx.info_name), *args]
        return super().parse_args(ctx, args)


def words() -> list[str]:
    """The command line of the Recorded command that runs, its options as they were given."""
    found: list[str] = click.get_current_context().meta[Recorded.__name__]
    return found
