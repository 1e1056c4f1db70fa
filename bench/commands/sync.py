"""`fewstep sync`: a finished run to W&B."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from ..errors import InputError, shortened
from .mirroring import keep_url, tracking_options
from .places import results_folder, store_option


@click.command()
@click.argument("place", metavar="DIR|SUITE")
@store_option
@tracking_options
def sync(place: str, store: Path | None, project: str | None, tags: list[str]) -> None:
    """Upload a run to W&B: its results, and the curves and samples of its trainings.

    What is there already is not uploaded again. Log in first, by `wandb login` or WANDB_API_KEY.
    """
    from ..results.mirror import described
    from ..results.mirror.process import MirrorError, Mirroring

    folder = results_folder(place)
    runs = described.read(folder)
    given = {"store": store and os.path.relpath(store, folder), "project": project, "tags": tags}
    wanted = runs.model_copy(update={name: value for name, value in given.items() if value})
    if not (folder / wanted.store).is_dir():
        raise InputError(f"{shortened(store or folder / wanted.store)}: no store there; name it with --store")
    _require_wandb()
    if wanted != runs:
        wanted.write(folder)
    mirroring = Mirroring(folder, "online")
    try:
        found = mirroring.finish()
    except MirrorError as error:
        click.echo(f"fewstep: W&B: {error}; the same command resumes from here", err=True)
        sys.exit(1)
    finally:
        mirroring.close()
    click.echo(f"{found.written} W&B runs uploaded" if found.written else "W&B has everything already")
    if found.url is not None:
        keep_url(folder, found.url)
        click.echo(found.url)


def _require_wandb() -> None:
    from ..training.tracking import is_logged_in

    if os.environ.get("WANDB_MODE") == "disabled":
        raise InputError("WANDB_MODE=disabled: unset it to upload")
    if find_spec("wandb") is None:
        raise InputError("wandb is not installed; pip install wandb")
    if not is_logged_in():
        raise InputError("not logged in to W&B; run `wandb login` or set WANDB_API_KEY")
