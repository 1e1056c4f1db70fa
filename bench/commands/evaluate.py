"""`fewstep evaluate`: the metrics of images that were made anywhere."""

import sys
from pathlib import Path
from typing import Any

import click

from ...reports.writing import file_name
from ..errors import InputError
from .places import NFE, RUNS, SEED, data_root_option, require_run_folder, require_writable, store_option


@click.command(short_help="Measure images that were made elsewhere.")
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, help="What they are compared with: a name, or other images.")
@click.option("--metrics", help="Names, with commas between [default: all that can be had here].")
@click.option(
    "--reference", "given", multiple=True, metavar="METRIC=FILE", help="Published statistics to compare with."
)
@click.option(
    "--rounding",
    type=click.Choice(["round", "truncate", "unknown"]),
    default="round",
    show_default=True,
    help="How the samples became 8 bits, for the protocol.",
)
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    help="A text file with a caption per image and line [default: the data set's].",
)
@click.option("--method", help="The name of what made them [default: the name of IMAGES].")
@click.option("--variant", default="", help="Its options.")
@click.option(
    "--teacher", default="elsewhere", show_default=True, help="The network behind it, as leaderboards call it."
)
@click.option("--budget", default="elsewhere", show_default=True, help="What its training cost.")
@click.option("--nfe", type=NFE, default=0, help="Its network evaluations per image, if known.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the results [default: runs/evaluated/<method>]."
)
@click.option("--overwrite", is_flag=True, help="Replace whatever results the folder has.")
@store_option
@data_root_option
def evaluate(
    images: Path,
    dataset: str,
    metrics: str | None,
    given: tuple[str, ...],
    rounding: str,
    captions: Path | None,
    device: str,
    out: Path | None,
    overwrite: bool,
    store: Path | None,
    **row: Any,
) -> None:
    """Measure IMAGES made anywhere: a folder, zip or tar of files, or an npz of guided-diffusion's form.

    The results can stand beside a suite's: `fewstep leaderboard DIR OTHER`.
    """
    from ..machine import shares
    from .evaluate_request import Request, named

    row = named(row, images)
    names = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
    references = dict(_assignment("--reference", word) for word in given)
    request = Request(images, dataset, names, row, references, rounding, captions, _had(device))
    request.wanted()
    folder = out or RUNS / "evaluated" / file_name(row["method"])
    from ..results import evaluated
    from ..run import runner
    from ..run.executor import LOCAL, Resources
    from ..run.progress import Progress
    from ..store import Store
    from . import evaluate_images as stage

    artifacts = Store(store or (out or RUNS) / "store")
    require_run_folder(folder)
    require_writable(artifacts.root)
    asked, pictures = stage.look(request)
    if not overwrite:
        evaluated.check_place(folder, asked)

    def run(tasks: list[Any]) -> Any:
        if tasks:
            artifacts.prepare()
        _, threads, cards = shares(device, 1, None)
        resources = Resources(artifacts.root, 1, threads, cards)
        return runner.run(tasks, artifacts, lambda count: LOCAL.start(resources), Progress())

    rows, blocks = stage.evaluate(request, run, pictures)
    evaluated.write(folder, asked, rows, blocks)
    from ...reports import leaderboard as board

    click.echo(board.render(board.read(folder), "table"))
    click.echo(folder / "results.csv")
    skipped = [line for line in rows if line["status"] != "done"]
    for line in skipped:
        click.echo(f"fewstep: {line['metric']}: {line['status']}", err=True)
    sys.exit(1 if skipped else 0)


def _assignment(option: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals and value):
        raise InputError(f"{option} {word}: expected METRIC=FILE")
    return key, value


def _had(device: str) -> str:
    """The device, named as a suite on the CPU names it, whose features are then found in the store. InputError."""
    from ..machine import device_refusal, gpus, require

    if refusal := device_refusal(device):
        raise InputError(f"--device {refusal}, not {device!r}")
    require(device)
    return "cpu" if device == "auto" and not gpus(device) else device
