"""`fewstep new`: a suite to begin with."""

import re
from pathlib import Path

import click

from ..errors import InputError
from .completion import complete_suite

MEANINGS = {
    "datasets": "one name or a list: `fewstep list datasets`, or the path of your own images",
    "teachers": "one or a list: `fewstep list teachers`; {name: checkpoint, file: FILE} is a network of your own",
    "problems": "data sets with a teacher each, {dataset, teacher, references}, where not all are combined with all",
    "budgets": "what one training run may spend; 1 evaluation = 1 forward of the teacher on 1 sample",
    "seeds": "each is trained and sampled anew; ranks need two or more",
    "nfe": "network function evaluations per sample",
    "samples": "per method, NFE and seed",
    "metrics": "`fewstep list metrics`; the first ranks the tables",
    "references": "published statistics to compare with, by metric: `fewstep doctor` lists them",
    "labels": "of class-conditional samples: data (the data set's proportions) or uniform",
    "truth": "exact solutions of the teacher's ODE, for rmse",
    "device": "auto, cpu or cuda",
    "methods": "rows: a name, or {name, options, variant, nfe, budgets}; `fewstep show NAME` lists the options",
}


@click.command(short_help="Write a commented copy of a suite.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--like",
    metavar="SUITE",
    default="quickstart",
    show_default=True,
    shell_complete=complete_suite,
    help="The suite to copy.",
)
def new(file: Path, like: str) -> None:
    """Write FILE, a copy of a suite with a comment at each key, to change and to run.

    \b
    fewstep new mine.yaml --like quickstart
    """
    from ..store import write_atomic
    from ..suite.loading import checked, find

    if file.exists():
        raise InputError(f"{file} exists; choose another name")
    text = commented(find(like).read_text(encoding="utf-8"), re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem))
    checked(like, text)
    try:
        write_atomic(file, text)
    except OSError as error:
        raise InputError(f"{file}: cannot write there: {error.strerror}") from None
    click.echo(f"{file}: change it, look at it with `fewstep run {file} --dry-run`, then `fewstep run {file}`")


def commented(text: str, name: str) -> str:
    """The suite under another name, with what a key means in the line above it. What was commented stays so."""
    lines: list[str] = []
    for line in text.splitlines():
        key = line.partition(":")[0]
        if key in MEANINGS and not (lines and lines[-1].startswith("#")):
            lines.append(f"# {MEANINGS[key]}")
        lines.append(f"name: {name}" if key == "name" else line)
    return "\n".join([*lines, ""])
