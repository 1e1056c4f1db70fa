"""`fewstep choose`: which solver for a network that somebody trained."""

import sys
from pathlib import Path

import click

from ..errors import InputError
from .completion import complete_dataset, complete_metric, complete_solver
from .places import RUNS, data_root_option, require_results_folder, store_option
from .recorded import Recorded


@click.command(cls=Recorded, short_help="Say which solver suits a checkpoint.")
@click.argument("file", metavar="CHECKPOINT")
@click.option("--dataset", shell_complete=complete_dataset, help="The data set that it was trained on.")
@click.option(
    "--images", help="Instead of a data set: the folder, zip, tar or npz of the images, of the network's size."
)
@click.option("--nfe", required=True, metavar="N,...", help="Network evaluations per image, such as 4,6,8.")
@click.option("--metric", shell_complete=complete_metric, help="What to judge by [default: the data set's, or FID].")
@click.option(
    "--solvers",
    shell_complete=complete_solver,
    metavar="NAME,...",
    help="Only these [default: every one that reaches an NFE].",
)
@click.option(
    "--samples", type=click.IntRange(min=2), default=2000, show_default=True, help="Images per solver and NFE."
)
@click.option("--seeds", metavar="N,...", default="0", show_default=True, help="Seeds of the noise, such as 0,1,2.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to compute.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: runs/choose-<file>].")
@store_option
@data_root_option
@click.pass_context
def choose(
    ctx: click.Context,
    file: str,
    dataset: str | None,
    images: str | None,
    nfe: str,
    metric: str | None,
    solvers: str | None,
    samples: int,
    seeds: str,
    device: str,
    out: Path | None,
    store: Path | None,
) -> None:
    """Say which solver is best for CHECKPOINT at a few evaluations, and how long an image takes.

    CHECKPOINT is a file as a suite takes it, with its form before a colon or without (ddim:FILE), or a shipped
    teacher. The suite that is run is in the folder of the results: `fewstep run DIR/suite.yaml` repeats it.

    \b
    fewstep choose network.pkl --dataset cifar10 --nfe 4,6,8
    fewstep choose network.safetensors --images photos --nfe 8 --metric kid
    """
    from ..store import write_atomic
    from .choice import Choice, numbers
    from .run import run

    if (dataset is None) == (images is None):
        raise InputError("choose: give either --dataset NAME or --images FOLDER")
    wanted = Choice(
        file,
        dataset or images or "",
        numbers("--nfe", nfe, 1),
        numbers("--seeds", seeds, 0),
        samples,
        metric,
        tuple(name.strip() for name in solvers.split(",")) if solvers else (),
        device,
    )
    suite = wanted.suite()
    folder = out or RUNS / suite.name
    require_results_folder(folder)
    written = folder / "suite.yaml"
    write_atomic(written, wanted.text())
    try:
        ctx.invoke(run, suite=str(written), out=folder, store=store or (out or RUNS) / "store")
    except SystemExit as ended:
        if ended.code in (0, 1):
            _say(folder, suite.metrics[0])
        sys.exit(ended.code)


def _say(folder: Path, metric: str) -> None:
    from ...reports import leaderboard
    from ...reports.timing import seconds_per_image
    from ...reports.verdicts import best, verdicts

    board, seconds = leaderboard.read(folder), seconds_per_image(folder)
    click.echo()
    for line in verdicts(board, metric, seconds):
        click.echo(line)
    reached: dict[str, list[int]] = {}
    for nfe, entry in best(board, metric, seconds).items():
        reached.setdefault(entry.method, []).append(nfe)
    if reached:
        rows = ", ".join(f"{{name: {method}, nfe: {nfe}}}" for method, nfe in reached.items())
        click.echo(f"in a suite: methods: [{rows}]")
