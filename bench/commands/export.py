"""`fewstep export`: what a row learned, or the network of a teacher, as a file."""

import os
from pathlib import Path
from typing import Any

import click

from ..errors import InputError, shortened
from .places import optional_row_options, require_writable, require_writable_file, results_folder


@click.command(short_help="Write a student or a teacher to a file.")
@optional_row_options
@click.option("--teacher", help="Write the network of this teacher, as tables call it; `.` for the run's only one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["safetensors", "diffusers"]),
    default="safetensors",
    show_default=True,
    help="A file with its configuration in the header, or a folder of diffusers where the network is one of its own.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file that is there.")
def export(
    place: str, store: Path | None, out: Path, teacher: str | None, form: str, overwrite: bool, **row: Any
) -> None:
    """Write what a method of a finished run learned, or the network of a teacher.

    A suite takes a student back as a row, `{name: student, options: {file: FILE}}`, and a teacher as
    `{name: checkpoint, file: FILE}`. A learned solver needs its teacher: fewstep.methods.saved loads it.

    \b
    fewstep export runs/quickstart --method consistency --nfe 2 --out student.safetensors
    fewstep export runs/quickstart --teacher . --out teacher.safetensors
    """
    _require_one(teacher, row)
    folder = results_folder(place)
    _require_target(out, form, overwrite)
    from ..results import exporting
    from ..results.lookup import Wanted, unsaid

    if teacher is not None:
        exporting.teacher(folder, "" if teacher == "." else teacher, store, out, form)
        return click.echo(out)
    wanted = Wanted(**row)
    exporting.student(folder, wanted, store, out, form)
    if note := unsaid(folder, wanted):
        click.echo(f"fewstep: {note}", err=True)
    click.echo(out)


def _require_one(teacher: str | None, row: dict[str, Any]) -> None:
    given = [name for name in ("method", "nfe", "variant", "budget") if row[name] is not None]
    if teacher is not None and given:
        raise InputError(f"--teacher {teacher}: writes a teacher, which has no --{given[0]}; leave one of them out")
    for name in ("method", "nfe"):
        if teacher is None and row[name] is None:
            raise InputError(f"--{name} is missing: give --method and --nfe of a row, or --teacher")


def _require_target(out: Path, form: str, overwrite: bool) -> None:
    """InputError unless what is to be written can be, and replaces nothing unasked."""
    if form == "diffusers":
        if os.path.lexists(out):
            raise InputError(f"{shortened(out)}: exists; a folder is not replaced, give another --out")
        return require_writable(out.absolute().parent)
    require_writable_file(out)
    if out.is_file() and not overwrite:
        raise InputError(f"{shortened(out)}: exists; give another --out, or --overwrite")
