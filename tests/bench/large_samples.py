"""A process of its own that samples and scores large images at no cost, and prints the most memory that it held, in MB.

Arguments: a folder for the store, and how many images of 3x256x256. The folder that `install` wrote is on its path.
"""

import re
import sys
from pathlib import Path

import torch
import yaml

from fewstep.bench.metrics.extractors.registry import EXTRACTORS
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.run import worker
from fewstep.bench.run.allocator import keep_freed_memory
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.tests import plugins
from fewstep.tests.bench.plugins import large


def install(folder):
    """Announce data, teacher and metric as a package in `folder` would."""
    points = {
        f"fewstep.{group}": {k: f"{large.HERE}:{v}" for k, v in named.items()} for group, named in large.POINTS.items()
    }
    plugins.install(folder, "wall", {}, points)


def planned(folder, count):
    """The plan of a suite of so many images, and its store."""
    suite = {
        "name": "large", "datasets": "wall", "teachers": {"name": "free"}, "budgets": {"evaluations": 1}, "nfe": 1,
        "samples": count, "truth": {"samples": 4, "tolerance": 0.5}, "metrics": ["rmse", "fd_wall", "fd_dinov2"],
        "methods": [{"name": "euler"}], "device": "cpu",
    }  # fmt: skip
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    store = Store(folder / "store")
    store.prepare()
    return make_plan(load(str(folder / "suite.yaml"))), store


def peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000


def main(folder, count):
    EXTRACTORS["dinov2-vitl14"] = large.Cheap()
    keep_freed_memory()
    torch.set_num_threads(1)
    plan, store = planned(folder, count)
    print("plan", round(peak()), flush=True)
    for task in plan.tasks():
        answer = worker.execute(task.to_json(), store)
        assert answer == ("done", None), answer
        print(task.kind, round(peak()), flush=True)
    (cell,) = plan.cells
    scored = store.need(cell.score.name).result["metrics"]
    assert all(scored[name]["value"] > 0 for name in ("rmse", "fd_wall", "fd_dinov2")), scored


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
