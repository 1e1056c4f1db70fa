"""A run on W&B: offline, online, or not at all. What fails there is one line, and changes no result."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError, shortened

if TYPE_CHECKING:
    from ..plan.cells import Plan
    from ..run.runner import Outcome

log = logging.getLogger(__name__)

MODES = {"online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline"}
"""What WANDB_MODE may say, but for disabled, and what it means."""
FORBIDDEN, LONGEST = "/\\#?%:", 128
"""What W&B refuses in the name of a project or tag, and how long it may be: 64 for a tag."""


def tracking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--project and --tags."""
    for option in (
        click.option("--tags", callback=_tags, metavar="A,B", help="Tags of the W&B runs [default: WANDB_TAGS]."),
        click.option("--project", callback=_project, help="W&B project [default: WANDB_PROJECT, or fewstep]."),
    ):
        command = option(command)
    return command


def _project(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and (not value.strip() or len(value) > LONGEST or set(value) & set(FORBIDDEN)):
        raise InputError(
            f"--project {shortened(value)!r}: a W&B project has 1 to {LONGEST} characters, none of {FORBIDDEN}"
        )
    return value


def _tags(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    tags = [] if value is None else [tag.strip() for tag in value.split(",")]
    for tag in tags:
        if not 1 <= len(tag) <= LONGEST // 2:
            raise InputError(f"--tags {shortened(tag)!r}: a W&B tag has 1 to {LONGEST // 2} characters")
    return tags


@contextmanager
def mirrored(
    plan: "Plan", store: Path, folder: Path, project: str | None, tags: list[str]
) -> Iterator[Callable[["Outcome"], None]]:
    """finish(outcome), to be called once the results are written; online, trainings are followed until then."""
    from ..results.mirror import described
    from ..results.mirror.process import Mirroring
    from ..run.runner import Outcome
    from ..training.tracking import wandb_mode

    asked = wandb_mode()
    mode, processes = MODES.get(asked), list[Mirroring]()

    def write(outcome: "Outcome") -> None:
        runs = described.describe(plan, outcome, store, folder)
        runs.model_copy(update={"project": project, "tags": tags}).write(folder)

    def start(outcome: "Outcome", follow: bool) -> None:
        assert mode is not None
        write(outcome)
        if not processes:
            processes.append(Mirroring(folder, mode, follow))

    def finish(outcome: "Outcome") -> None:
        if mode is None:
            return
        try:
            start(outcome, follow=False)
            found = processes[0].finish()
            if found.url is not None:
                keep_url(folder, found.url)
        except KeyboardInterrupt:
            return _say_not_mirrored(folder, "stopped")
        except Exception as error:  # whatever it is, the results are there
            return _say_not_mirrored(folder, str(error) or type(error).__name__)
        if found.url is not None:
            click.echo(f"W&B: {found.url}")
        elif found.written:
            click.echo(f"W&B: offline; `fewstep sync {folder}` uploads it")

    try:
        if mode == "online":
            try:
                start(Outcome(), follow=True)
            except Exception as error:  # again at the end
                log.info("W&B does not follow the trainings: %s", error)
        elif mode is None and asked != "disabled":
            click.echo(f"fewstep: W&B: WANDB_MODE={asked} is none of online, offline, disabled", err=True)
        yield finish
    finally:
        for process in processes:
            process.close()


def _say_not_mirrored(folder: Path, reason: str) -> None:
    click.echo(f"fewstep: W&B: {reason}; the results are complete, and `fewstep sync {folder}` uploads them", err=True)


def keep_url(folder: Path, url: str) -> None:
    """Write the page of the suite's W&B run into run.json."""
    from ...reports.run_folder import FACTS
    from ...reports.writing import write_atomic

    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if facts.get("wandb") != url:
        write_atomic(folder / FACTS, json.dumps({**facts, "wandb": url}, indent=1))
