"""The options that choose rows of one run or several: their methods, NFEs, and how runs are told apart."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import InputError


def _names(_: click.Context, __: click.Parameter, text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _numbers(_: click.Context, option: click.Parameter, text: str | None) -> list[int]:
    names = _names(_, option, text)
    if not all(name.isdecimal() for name in names):
        raise InputError(f"--nfe: expected numbers such as 1,2,4, got {text!r}")
    return list(map(int, names))


def rows_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--nfe, --methods, --label and --by-run, as nfes, methods, labels and by_run."""
    for option in reversed(
        [
            click.option("--nfe", "nfes", metavar="N,...", callback=_numbers, help="Only these NFEs, such as 1,2,4."),
            click.option(
                "--methods",
                metavar="NAME,...",
                callback=_names,
                help="Only these methods, such as euler,dpm* or bespoke:RK1; ranks are among them.",
            ),
            click.option(
                "--label", "labels", multiple=True, help="What to call a run, once for each DIR: their rows stay apart."
            ),
            click.option(
                "--by-run",
                is_flag=True,
                help="Keep the rows of different runs apart, under the names of their folders.",
            ),
        ]
    ):
        command = option(command)
    return command


def require_labels(labels: Sequence[str], places: Sequence[str]) -> None:
    """InputError unless there is a label for each place, or none at all."""
    if labels and len(labels) != len(places):
        raise InputError(f"--label: {len(labels)} labels for {len(places)} runs; give one for each")
